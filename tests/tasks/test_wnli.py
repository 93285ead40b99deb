"""Tests t5x_lite/tasks/wnli.py."""

import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.tasks.wnli import WNLI_SIMPLE_EVAL, wnli_simple
from tests.tasks.reading import check_names, texts

# t5/data/preprocessors_test.py, test_wnli_simple
PUBLISHED = [
    (
        "Lily spoke to Donna breaking her silence.",
        "Lily spoke to Donna breaking Donna's silence.",
        "wsc: Lily spoke to Donna breaking *her* silence.",
        "Donna",
    ),
    (
        "The fish ate the worm. It was tasty.",
        "The worm was tasty.",
        "wsc: The fish ate the worm. *It* was tasty.",
        "The worm",
    ),
    (
        "Edward dropped adhesive tape onto his window sill, and when he pulled the tape off, some of the glue was "
        "stuck on it.",
        "Some of the glue was stuck on the window sill.",
        "wsc: Edward dropped adhesive tape onto his window sill, and when he pulled the tape off, some of the glue was "
        "stuck on *it* .",
        "the window sill",
    ),
    (
        "Al stole Bob's wallet and car, and then he was driving it really fast to get away.",
        "He was driving the car really fast to get away.",
        "wsc: Al stole Bob's wallet and car, and then he was driving *it* really fast to get away.",
        "the car",
    ),
]


def record(premise, hypothesis, label=1):
    return {"sentence1": premise, "sentence2": hypothesis, "label": label, "idx": 7}


@pytest.mark.parametrize(("premise", "hypothesis", "inputs", "targets"), PUBLISHED)
def test_a_pronoun_and_its_noun_are_the_published_ones(premise, hypothesis, inputs, targets):
    assert texts(WNLI_SIMPLE_EVAL, record(premise, hypothesis)) == [(inputs, targets)]


@pytest.mark.parametrize(
    ("label", "verdict"), [(1, {"is_correct": True}), (0, {"is_correct": False}), (-1, {})], ids=str
)
def test_the_label_says_whether_the_noun_is_right(label, verdict):
    premise, hypothesis, inputs, targets = PUBLISHED[1]
    assert wnli_simple(record(premise, hypothesis, label)) == {"inputs": inputs, "targets": targets} | verdict


@pytest.mark.parametrize(("premise", "hypothesis"), [("No pronoun here.", "No noun here."), ("It is.", "Quite else")])
def test_sentences_without_a_replaced_pronoun_are_malformed(premise, hypothesis):
    with pytest.raises(BadRecord, match="does not replace a pronoun of its 'sentence1'"):
        wnli_simple(record(premise, hypothesis))


def test_what_it_names_exists():
    check_names(WNLI_SIMPLE_EVAL)
