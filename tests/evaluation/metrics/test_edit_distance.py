"""Tests t5x_lite/evaluation/metrics/edit_distance.py"""

import functools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.evaluation.metrics.edit_distance import cased_edit_distance, edit_distance, word_distance
from t5x_lite.evaluation.metrics.reference import Reference

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def by_recursion(prediction, answer):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (prediction[i - 1] != answer[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(prediction), len(answer))


def figure(name, prediction, *answers):
    return edit_distance([prediction], [Reference("", answers)])[f"edit_distance/{name}"]


@settings(max_examples=80)
@given(WORDS, WORDS)
def test_the_distance_is_that_of_the_recursive_definition(prediction, answer):
    assert word_distance(prediction, answer) == by_recursion(prediction, answer)


@pytest.mark.parametrize(
    ("prediction", "answer", "distance"), [("kitten", "sitting", 3), ("intention", "execution", 5)]
)
def test_textbook_distances(prediction, answer, distance):
    assert word_distance(prediction, answer) == distance


def test_the_figures_are_of_all_examples():
    predictions = ["a b c", "a", "x y", "", "p q"]
    references = [Reference(text) for text in ["a b c", "a b c d", "x", "one two", "p q"]]
    assert edit_distance(predictions, references) == {
        "edit_distance/min": 0,
        "edit_distance/max": 3,
        "edit_distance/mean": pytest.approx(6 / 5),
        "edit_distance/median": 1,
        "edit_distance/sum": 6,
        "edit_distance/word_error_rate": pytest.approx(100 * 6 / 12),
    }


# t5/evaluation/metrics_test.py, test_edit_distance
@pytest.mark.parametrize(
    ("metric", "answer", "prediction", "distance"),
    [
        (edit_distance, "This is a sentence.", "This is a different SENTENCE.", 1),
        (cased_edit_distance, "This is a sentence.", "This is a different SENTENCE.", 2),
        (cased_edit_distance, "Non-ascii separate.", "Non-ascii\N{SLIGHTLY SMILING FACE}separate.", 0),
    ],
)
def test_distances_are_the_published_ones(metric, answer, prediction, distance):
    figures = metric([prediction], [Reference(answer)])
    for name in ("min", "max", "mean", "median", "sum"):
        assert figures[f"{metric.__name__}/{name}"] == distance


def test_there_is_an_empty_word_between_punctuation_and_a_space():
    assert figure("sum", "a, b", "a b") == 1
    assert figure("sum", "a.", "a") == 1
    assert figure("sum", "a-b", "a b") == 0
    assert figure("sum", "a  b", "a, b") == 0
    assert figure("word_error_rate", "a, b", "a b!") == pytest.approx(100 * 2 / 2)


def test_words_are_compared_without_case():
    assert figure("sum", "Hello, world!", "hello; World?") == 0
    assert figure("sum", "ΣΊΣΥΦΟΣ straße_1", "σίσυφος straße_1") == 0
    assert figure("sum", "straße_1", "straße 1") == 2


def test_the_nearest_answer_counts_with_its_number_of_words():
    assert figure("sum", "a b c", "x y", "a b c d") == 1
    assert figure("word_error_rate", "a b c", "x y", "a b c d") == pytest.approx(25)


def test_the_rate_may_exceed_100_and_is_undefined_without_words():
    assert figure("word_error_rate", "a b c", "z") == pytest.approx(300)
    assert math.isnan(figure("word_error_rate", "a", "..."))
