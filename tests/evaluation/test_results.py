"""Tests t5x_lite/evaluation/results.py."""

import math

from t5x_lite.evaluation.results import as_json, by_task


def test_numbers_that_json_lacks_become_their_names():
    assert [as_json(value) for value in (math.nan, -math.inf, 2.5, 3, None)] == ["nan", "-inf", 2.5, 3, None]


def test_results_of_a_mixture_are_grouped_by_the_longest_task_name_that_fits():
    results = {"loss": 1.0, "eval/loss": 2.0, "eval/a/loss": 3.0, "eval/a/b/loss": 4.0, "eval/a/b/f1:x/y": 5.0}
    grouped = {"": {"loss": 2.0}, "a": {"loss": 3.0}, "a/b": {"loss": 4.0, "f1:x/y": 5.0}}
    assert by_task(results) == grouped
