"""Tests t5x_lite/commands/attention/contents.py; the tests of page and chart show how it is displayed."""

from t5x_lite.commands.attention.contents import Candidate, Step


def test_parts_are_immutable_and_compare_by_value():
    best = Candidate("a", 0.5)
    step = Step(place=3, reads="b", chosen=best, candidates=(best,))
    assert step == Step(3, "b", Candidate("a", 0.5), (Candidate("a", 0.5),))
    assert hash(step) == hash(Step(3, "b", best, (best,)))
