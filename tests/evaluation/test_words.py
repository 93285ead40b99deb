"""Tests t5x_lite/evaluation/words.py"""

import pytest

from t5x_lite.evaluation.results import by_task
from t5x_lite.evaluation.words import describe, duration, unit_of


def test_zero_and_unknown_numbers_are_not_shown():
    assert describe({"loss": 2.0, "mfu": None, "nonfinite_steps": 0}) == "loss 2.000"
    assert describe({"mfu": 0.25, "nonfinite_steps": 2}) == "MFU 25.0%  2 non-finite"


def test_an_evaluation_is_shown_with_its_metrics():
    losses = {"eval/loss": 2.5, "eval/loss_text": 2.25, "eval/accuracy": 12.5, "eval/squad/em": 0.0}
    shown = describe(losses | {"eval/unigram_text": 3.0})
    assert (
        shown
        == "held-out loss 2.500  on text 2.250  (unigram entropy 3.000)  accuracy 12.50 of 100  squad/em 0.00 of 100"
    )


MIXTURE = {
    "eval/loss": 2.0,
    "eval/loss_text": 1.5,
    "eval/a/loss": 1.0,
    "eval/a/squad/em": 7.0,
    "eval/a/deep/loss": 3.0,
    "eval/a/deep/accuracy": 50.0,
}


def test_the_tasks_of_a_mixture_have_lines_of_their_own():
    assert describe(MIXTURE).splitlines() == [
        "held-out loss 2.000  on text 1.500",
        "    a       loss 1.000  squad/em 7.00 of 100",
        "    a/deep  loss 3.000  accuracy 50.00 of 100",
    ]


def test_slashes_in_metrics_differ_from_slashes_in_tasks():
    assert by_task(MIXTURE) == {
        "": {"loss": 2.0, "loss_text": 1.5},
        "a": {"loss": 1.0, "squad/em": 7.0},
        "a/deep": {"loss": 3.0, "accuracy": 50.0},
    }
    assert by_task({"loss": 3.0, "eval/loss": 1.0}) == {"": {"loss": 1.0}}


def test_a_learning_rate_is_shown_even_if_it_is_zero():
    assert describe({"loss": 2.0, "learning_rate": 0.0}) == "loss 2.000  learning rate 0"
    assert describe({"loss": 2.0, "learning_rate": 0.000123456}) == "loss 2.000  learning rate 0.000123"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("rouge1", "of 100"),
        ("bleu", "of 100"),
        ("squad/em", "of 100"),
        ("f1/auc", "of 100"),
        ("rank_classification/auc_roc", "of 100"),
        ("group_mean/accuracy", "of 100"),
        ("auc/roc", "of 1"),
        ("score_auc/pr", "of 1"),
        ("target_accuracy", "of 1"),
        ("edit_distance/mean", ""),
        ("edit_distance/word_error_rate", "%"),
        ("sklearn/r2_score", ""),
        ("loss", "nats per token"),
        ("perplexity", ""),
    ],
)
def test_each_result_has_its_scale(name, unit):
    assert unit_of(name) == unit


def test_times_are_hours_minutes_and_seconds():
    assert (duration(59.6), duration(3_725)) == ("0:01:00", "1:02:05")
