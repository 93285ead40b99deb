"""Tests t5x_lite/evaluation/metrics/correlation.py.

"Published" values are those of T5's `t5/evaluation/metrics_test.py`.
"""

import math

import numpy as np
import pytest

from t5x_lite.evaluation.metrics.correlation import pearson, spearman
from t5x_lite.evaluation.metrics.reference import Reference

BOTH = pytest.mark.parametrize(("function", "name"), [(pearson, "pearson"), (spearman, "spearman")])


def numbers(values):
    return [Reference(str(value)) for value in values]


def texts(values):
    return [str(value) for value in values]


def test_pearson_is_the_published_one():
    assert pearson(["0", "1"], numbers([0, 2])) == {"pearson": pytest.approx(100)}


def test_spearman_is_the_published_one():
    assert spearman(["0", "1", "2"], numbers([0, 2, 1])) == {"spearman": pytest.approx(50)}


def test_pearson_of_a_small_table():
    # Deviations (-1, -2, 3) and (-3, 1, 2): 7 / sqrt(14 * 14).
    assert pearson(["1", "0", "5"], numbers([0, 4, 5]))["pearson"] == pytest.approx(50)


def test_spearman_sees_the_order_alone_and_pearson_the_distances():
    predictions, references = ["1", "2", "1000"], numbers([1, 2, 3])
    assert spearman(predictions, references)["spearman"] == pytest.approx(100)
    assert pearson(predictions, references)["pearson"] == pytest.approx(
        100 * np.corrcoef([1, 2, 1000], [1, 2, 3])[0, 1]
    )


def test_equal_numbers_share_the_mean_of_their_ranks():
    # Ranks 1.5, 1.5, 3, 4 and 1, 2, 3, 4: sum of the products of deviations 4.5, of their squares 4.5 and 5.
    expected = 100 * 4.5 / math.sqrt(4.5 * 5)
    assert spearman(["7", "7", "8", "9"], numbers([1, 2, 3, 4]))["spearman"] == pytest.approx(expected)


@BOTH
@pytest.mark.parametrize("prediction", ["", "nothing", "3.4.5", "nan", "inf", "-infinity", "1e999", "三点"])
def test_an_unreadable_prediction_counts_as_minus_1(function, name, prediction):
    references = numbers([1.2, 3.4, 5.0])
    assert function([prediction, "0.5", "0"], references) == function(["-1", "0.5", "0"], references)
    # And as no other number between the others, nor above.
    assert function([prediction, "0.5", "0"], references) != function(["0.2", "0.5", "0"], references)


@BOTH
@pytest.mark.parametrize("target", ["", "five", "nan", "inf"])
def test_a_target_that_is_not_a_finite_number_is_refused(function, name, target):
    with pytest.raises(ValueError, match=rf"task.metrics has {name}, .* one is '{target}': fix task.targets"):
        function(["1", "2", "3"], [Reference("1"), Reference(target), Reference("2")])


@BOTH
@pytest.mark.parametrize(
    ("predictions", "targets"),
    [("0.1 0.1 0.1", "1 2 3"), ("1 2 3", "0.1 0.1 0.1"), ("0 0 0", "0 0 0"), ("1", "2"), ("x y -1", "1 2 3")],
)
def test_constant_numbers_have_no_correlation(function, name, predictions, targets):
    assert math.isnan(function(predictions.split(), numbers(targets.split()))[name])


@BOTH
@pytest.mark.parametrize("scale", ["e300", "e-300", "e308", "e-323"])
def test_numbers_of_any_size_do_not_overflow(function, name, scale):
    assert function(["-1" + scale, "0", "1" + scale], numbers([1, 2, 3]))[name] == pytest.approx(100)
    assert function(["1" + scale, "0", "-1" + scale], numbers([1, 2, 3]))[name] == pytest.approx(-100)
