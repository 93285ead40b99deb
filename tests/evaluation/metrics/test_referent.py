"""Tests t5x_lite/evaluation/metrics/referent.py."""

import pytest

from t5x_lite.evaluation.metrics.reference import Reference
from t5x_lite.evaluation.metrics.referent import names, wsc_accuracy


# t5/data/postprocessors_test.py, test_wsc_simple
@pytest.mark.parametrize(
    ("prediction", "noun", "expected"),
    [
        ("potato", "turnip", False),
        ("turnip", "turnip", True),
        ("the cat", "cat", True),
        ("Bob's hat", "Bob", False),
        ("Bob's hat", "Bob's hat", True),
        ("potato", "Potato", True),
        ("a potato", "my potato", True),
        ("fuzzy bunny", "fuzzy hungry bunny", True),
        ("", "cat", None),
        ("a this", "cat", None),
    ],
)
def test_a_noun_is_recognised_as_published(prediction, noun, expected):
    assert names(prediction, noun) is expected


def test_a_prediction_is_right_if_it_agrees_with_the_verdict_and_an_empty_one_never_is():
    references = [Reference("cat", is_correct=value) for value in (True, True, False, False, False)]
    predictions = ["The cat", "dog", "the dog", "cat", ""]
    assert wsc_accuracy(predictions, references) == {"wsc_accuracy": pytest.approx(40)}


def test_a_missing_verdict_is_refused():
    with pytest.raises(ValueError, match="wsc_accuracy, which needs an 'is_correct' for each example"):
        wsc_accuracy(["a", "b"], [Reference("a", is_correct=True), Reference("b")])
