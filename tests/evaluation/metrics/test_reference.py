"""Tests t5x_lite/evaluation/metrics/reference.py"""

from t5x_lite.evaluation.metrics.reference import Reference, grouped


def test_without_answers_the_targets_are_what_is_accepted():
    assert Reference("a").accepted == ("a",)
    assert Reference("a", ("b", "c")).accepted == ("b", "c")


def test_examples_of_a_group_come_together_and_the_others_alone():
    groups = ["x", "", "y", "x", "", "y", "x"]
    assert grouped([Reference("a", group=group) for group in groups]) == [[0, 3, 6], [1], [2, 5], [4]]
