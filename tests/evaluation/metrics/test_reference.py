"""Tests t5x_lite/evaluation/metrics/reference.py"""

import json

from t5x_lite.evaluation.metrics.reference import Reference, grouped, read_references


def test_references_are_read_with_what_they_have_and_numbered_over_all_files(tmp_path):
    rows = [
        {"targets": "a"},
        {"targets": "b", "answers": ["b", "c"], "group": "g", "context": "d e", "is_correct": False, "weight": 0.5},
    ]
    paths = [tmp_path / "1", tmp_path / "2"]
    paths[0].write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths[1].write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    assert read_references(paths) == [
        Reference("a"),
        Reference("b", ("b", "c"), "g", "d e", is_correct=False, weight=0.5, number=1, group_size=2),
        Reference("b", ("b", "c"), "g", "d e", is_correct=False, weight=0.5, number=2, group_size=2),
        Reference("a", number=3),
    ]


def test_without_answers_the_targets_are_what_is_accepted():
    assert Reference("a").accepted == ("a",)
    assert Reference("a", ("b", "c")).accepted == ("b", "c")


def test_examples_of_a_group_come_together_and_the_others_alone():
    groups = ["x", "", "y", "x", "", "y", "x"]
    assert grouped([Reference("a", group=group) for group in groups]) == [[0, 3, 6], [1], [2, 5], [4]]
