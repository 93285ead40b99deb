"""Tests t5x_lite/evaluation/metrics/classification.py.

"Published" values are those of T5's `t5/evaluation/metrics_test.py`.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.evaluation.metrics.classification import accuracy, exact_match, f1, matthews, mean_f1
from t5x_lite.evaluation.metrics.reference import Reference

LABELS = st.sampled_from(["no", "yes", "maybe"])
PREDICTIONS = st.one_of(LABELS, st.sampled_from(["", "42", "No"]))
EXAMPLES = st.lists(st.tuples(PREDICTIONS, LABELS), min_size=1, max_size=12)


def labels(text):
    return [Reference(target) for target in text.split()]


def one_hot(texts, classes):
    """Rows of a class each, the texts that are none of them having the last."""
    rows = np.zeros((len(texts), len(classes) + 1))
    for row, text in zip(rows, texts, strict=True):
        row[classes.index(text) if text in classes else -1] = 1
    return rows


def test_accuracy_is_the_published_one():
    assert accuracy(["0", "1", "2", "1"], labels("0 0 2 1")) == {"accuracy": pytest.approx(75)}
    same, other = "this is a string.", "this is a completely different string."
    assert accuracy([same, same], [Reference(same), Reference(other)]) == {"accuracy": pytest.approx(50)}


def test_any_accepted_text_is_right():
    references = [Reference("a", ("a", "b")), Reference("a", ("c", "b")), Reference("a"), Reference("a", ("c",))]
    assert accuracy(["b", "b", "a", "a"], references)["accuracy"] == pytest.approx(75)
    assert exact_match(["b", "b", "a", "a"], references)["exact_match"] == pytest.approx(75)


@pytest.mark.parametrize("prediction", ["Paris", "paris ", "", "pari\u0073\u0301"])
def test_texts_are_compared_character_for_character(prediction):
    assert accuracy([prediction, "é"], [Reference("paris"), Reference("é")])["accuracy"] == 50


def test_exact_match_of_one_group_is_the_published_one():
    references = [Reference("0", group="q"), Reference("1", group="q")]
    assert exact_match(["0", "1"], references) == {"exact_match": 100}
    assert exact_match(["0", "2"], references) == {"exact_match": 0}


def test_exact_match_is_the_share_of_groups_that_are_all_right():
    groups = ["a", "b", "a", "c", "b", "b"]
    references = [Reference("x", group=group) for group in groups]
    assert exact_match(["x", "x", "x", "y", "y", "x"], references)["exact_match"] == pytest.approx(100 / 3)


def test_exact_match_without_groups_is_of_examples():
    assert exact_match(["a", "b", "c"], labels("a b d"))["exact_match"] == pytest.approx(100 * 2 / 3)


def test_f1_counts_predictions_of_no_class_as_wrong_as_published():
    assert f1(["0", "1", "2", "2"], labels("0 1 1 0"), "1") == {"f1/1": pytest.approx(50)}


def test_f1_is_over_all_answers_whatever_their_group_as_published():
    references = [Reference("1", group="a"), Reference("1", group="a"), Reference("0", group="b")]
    assert f1(["1", "0", "1"], references, "1") == {"f1/1": pytest.approx(50)}


def test_f1_is_of_the_label_asked_for():
    # Of "yes": 1 hit, 2 false alarms, 0 misses. Of "no": 1 hit, no false alarm, 2 misses.
    predictions, references = ["yes", "yes", "yes", "no"], labels("yes no no no")
    assert f1(predictions, references, "yes")["f1/yes"] == pytest.approx(50)
    assert f1(predictions, references, "no")["f1/no"] == pytest.approx(50)
    predictions, references = ["yes", "yes", "no", "no", "no"], labels("yes no no no no")
    assert f1(predictions, references, "yes")["f1/yes"] == pytest.approx(100 * 2 / 3)
    assert f1(predictions, references, "no")["f1/no"] == pytest.approx(100 * 6 / 7)


def test_f1_of_an_invalid_prediction_is_a_false_alarm_where_the_label_is_not_the_target():
    assert f1(["yes", "no"], labels("yes no"), "yes")["f1/yes"] == 100
    assert f1(["yes", "nein"], labels("yes no"), "yes")["f1/yes"] == pytest.approx(100 * 2 / 3)


def test_f1_of_a_label_that_no_example_has_is_0_as_in_t5():
    assert f1(["no", "no"], labels("no no"), "yes")["f1/yes"] == 0
    assert f1(["yes", "no"], labels("no no"), "yes")["f1/yes"] == 0
    assert f1(["yes", "maybe"], labels("no no"), "yes")["f1/yes"] == 0


def test_f1_is_0_where_the_label_is_never_predicted():
    assert f1(["no", "no"], labels("yes no"), "yes")["f1/yes"] == 0


def test_mean_f1_is_the_published_one():
    published = {"mean_f1": pytest.approx(44.44444444444444)}
    assert mean_f1(["0", "0", "2", "2"], labels("0 1 1 2")) == published
    assert mean_f1(["0", "0", "2", "2"], labels("0 1 1 2"), "0,1,2") == published


def test_mean_f1_counts_a_named_class_without_examples_as_0_as_in_t5():
    assert mean_f1(["a", "b"], labels("a b"))["mean_f1"] == pytest.approx(100)
    assert mean_f1(["a", "b"], labels("a b"), "a,b,c")["mean_f1"] == pytest.approx(200 / 3)
    assert mean_f1(["a", "c"], labels("a b"), "a,b,c")["mean_f1"] == pytest.approx(100 / 3)
    assert mean_f1(["a", "b"], labels("a b"), "c,d")["mean_f1"] == 0


def test_mean_f1_is_over_the_classes_of_the_references():
    # Of the prediction "c", which no example has, only the miss of "b" counts: F1 of 1 and of 2 / 3.
    assert mean_f1(["a", "b", "c"], labels("a b b"))["mean_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_matthews_is_the_published_one():
    assert matthews(["0", "1", "2", "1"], labels("0 0 2 1")) == {"matthews": pytest.approx(70)}


def test_matthews_of_a_contingency_table():
    # 6 true positives, 3 true negatives, 1 false positive, 2 false negatives.
    predictions = ["1"] * 6 + ["0"] * 3 + ["1"] + ["0"] * 2
    references = labels("1 1 1 1 1 1 0 0 0 0 1 1")
    expected = (6 * 3 - 1 * 2) / math.sqrt((6 + 1) * (6 + 2) * (3 + 1) * (3 + 2))
    assert matthews(predictions, references)["matthews"] == pytest.approx(100 * expected)
    swapped = ["1" if prediction == "0" else "0" for prediction in predictions]
    assert matthews(swapped, references)["matthews"] == pytest.approx(-100 * expected)


@settings(max_examples=60)
@given(EXAMPLES)
def test_matthews_is_the_correlation_of_indicators_and_invalid_predictions_are_one_class(examples):
    predictions, targets = zip(*examples, strict=True)
    classes = sorted(set(targets))
    predicted_NC, targets_NC = one_hot(predictions, classes), one_hot(targets, classes)
    predicted_NC, targets_NC = predicted_NC - predicted_NC.mean(0), targets_NC - targets_NC.mean(0)
    norm = np.sqrt((predicted_NC**2).sum() * (targets_NC**2).sum())
    expected = 100 * (predicted_NC * targets_NC).sum() / norm if norm > 1e-9 else 0
    measured = matthews(predictions, [Reference(target) for target in targets])["matthews"]
    assert measured == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("predictions", "targets"), [("a a a", "a b a"), ("a b a", "a a a"), ("a", "a")])
def test_matthews_is_0_where_one_side_is_all_the_same(predictions, targets):
    assert matthews(predictions.split(), labels(targets)) == {"matthews": 0}


@settings(max_examples=60)
@given(EXAMPLES)
def test_mean_f1_is_the_mean_of_the_harmonic_means_of_precision_and_recall(examples):
    predictions, targets = map(np.array, zip(*examples, strict=True))
    values = []
    for label in set(targets):
        hits = np.sum((predictions == label) & (targets == label))
        precision = hits / max(1, np.sum(predictions == label))
        recall = hits / np.sum(targets == label)
        values.append(2 * precision * recall / (precision + recall) if hits else 0)
    measured = mean_f1(list(predictions), [Reference(target) for target in targets])["mean_f1"]
    assert measured == pytest.approx(100 * np.mean(values))
