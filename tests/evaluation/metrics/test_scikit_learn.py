"""Tests t5x_lite/evaluation/metrics/scikit_learn.py."""

import pytest

from t5x_lite.evaluation.metrics import check_names, measure
from t5x_lite.evaluation.metrics.reference import Reference

pytest.importorskip("sklearn", reason="comes with the extra eval")


def labels(text):
    return [Reference(target) for target in text.split()]


# t5/evaluation/metrics_test.py, test_sklearn_wrapper
@pytest.mark.parametrize(
    ("name", "targets", "predictions", "value"),
    [
        ("matthews_corrcoef", "0 0 2 1", "0 1 2 1", 0.7),
        ("hamming_loss", "1 2 3 4", "2 2 3 4", 0.25),
        ("mean_absolute_error", "0.5 1 -1 1 7 -6", "0 2 -1 2 8 -5", 0.75),
    ],
)
def test_functions_give_the_published_values(name, targets, predictions, value):
    assert measure([f"sklearn:{name}"], predictions.split(), labels(targets)) == {
        f"sklearn/{name}": pytest.approx(value)
    }


def test_a_name_may_lack_score_and_have_options():
    predictions, references = ["yes", "no", "no", "yes"], labels("yes no yes yes")
    found = measure(["sklearn:balanced_accuracy"], predictions, references)
    assert found == {"sklearn/balanced_accuracy": pytest.approx((2 / 3 + 1) / 2)}
    found = measure(["sklearn:f1,average=macro"], ["a", "b", "b"], labels("a b a"))
    assert found == {"sklearn/f1": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sklearn:nothing", "sklearn.metrics has no nothing or nothing_score"),
        ("sklearn:f1,macro", "'macro' is not an option: write OPTION=VALUE"),
        ("sklearn", "needs an argument: write sklearn:FUNCTION"),
    ],
)
def test_a_wrong_name_is_refused_before_the_run(name, message):
    with pytest.raises(ValueError, match=message):
        check_names([name])


def test_a_function_that_does_not_suit_the_task_is_one_error():
    with pytest.raises(ValueError, match="sklearn:f1, which does not suit the task"):
        measure(["sklearn:f1"], ["a", "b"], labels("a c"))
