"""Tests t5x_lite/evaluation/metrics/ranking.py.

"Published" values are those of T5's `t5/evaluation/metrics_test.py`.
"""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.evaluation.metrics.ranking import auc, rank_classification, rank_classification_by_token, score_auc
from t5x_lite.evaluation.metrics.reference import Reference, TargetScore

PUBLISHED_AREAS = {"roc": 0.75, "pr": 0.8333}
SCORES_2 = [0.1, 0.5, 1.0, 1.1, 0.3, 0.1, 0.6, 0.5]
SCORES_3 = [0.1, 0.5, 0.0, -2, -1, -3, 3.0, 3.1, 3.2]
RIGHT_2, RIGHT_3 = [0, 1, 0, 0], [1, 0, 2]


def numbers(*targets):
    return [Reference(str(target)) for target in targets]


def scored(*values):
    return [TargetScore(value, 1) for value in values]


def questions(right, num_choices, weights=None):
    """Choices of questions in order; `right` has a number of a choice, or several, for each question."""
    references = []
    for question, answers in enumerate(right):
        for choice in range(num_choices if isinstance(num_choices, int) else num_choices[question]):
            is_correct = choice in np.atleast_1d(answers)
            weight = 1.0 if weights is None else weights[question]
            fields = {"group": f"q{question}", "is_correct": bool(is_correct), "weight": weight}
            references.append(Reference(f"choice {choice}", **fields, number=len(references)))
    return references


def figures(scores, references, num_classes="", metric=rank_classification):
    values = scores if isinstance(scores[0], TargetScore) else scored(*scores)
    measured = metric(values, references, num_classes)
    return {name.removeprefix(f"{metric.__name__}/"): value for name, value in measured.items()}


def test_areas_are_the_published_ones():
    expected = {f"auc/{name}": pytest.approx(value, abs=1e-4) for name, value in PUBLISHED_AREAS.items()}
    predictions = ["0.1", "0.4", "0.35", "0.8"]
    assert auc(predictions, numbers(0, 0, 1, 1)) == expected
    assert auc(predictions, numbers(0.0, 0.2, 0.5, 0.7), "0.5") == expected


def test_areas_of_scores_are_the_published_ones():
    expected = {f"score_auc/{name}": pytest.approx(value, abs=1e-4) for name, value in PUBLISHED_AREAS.items()}
    scores = scored(0.1, 0.4, 0.35, 0.8)
    assert score_auc(scores, numbers(0, 0, 1, 1)) == expected
    assert score_auc(scores, numbers(0.0, 0.2, 0.5, 0.7), "0.5") == expected
    judged = [Reference("any", is_correct=value) for value in (False, False, True, True)]
    assert score_auc(scores, judged) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([-1.5, 0.0, 2.0, 2.5])), min_size=2, max_size=12))
def test_the_roc_area_is_the_share_of_pairs_in_the_right_order(examples):
    positive = [value for is_positive, value in examples if is_positive]
    negative = [value for is_positive, value in examples if not is_positive]
    found = auc([str(value) for _, value in examples], numbers(*(int(is_positive) for is_positive, _ in examples)))
    if not positive or not negative:
        assert math.isnan(found["auc/roc"])
        return
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert found["auc/roc"] == pytest.approx(np.mean(pairs))
    thresholds = sorted(set(positive), reverse=True)
    precision = {t: sum(p >= t for p in positive) / sum(v >= t for _, v in examples) for t in thresholds}
    assert found["auc/pr"] == pytest.approx(np.mean([precision[value] for value in positive]))


def test_targets_that_are_neither_0_nor_1_need_a_threshold():
    with pytest.raises(ValueError, match=r"needs targets of 0 and 1, but one is 0.2: use auc:THRESHOLD"):
        auc(["1", "2"], numbers(0.2, 1))
    with pytest.raises(ValueError, match=r"score_auc, which needs targets that are finite numbers, but one is 'yes'"):
        score_auc(scored(1, 2), [Reference("yes"), Reference("1")])


def test_unreadable_predictions_count_as_minus_1():
    assert auc(["x", "0"], numbers(0, 1))["auc/roc"] == 1
    assert auc(["x", "-2"], numbers(0, 1))["auc/roc"] == 0


def test_two_classes_are_the_published_ones():
    assert figures(SCORES_2, questions(RIGHT_2, 2), "2") == pytest.approx(
        {"accuracy": 75, "auc_pr": 50, "auc_roc": 66.6666667, "f1": 66.6666667}
    )


def test_two_weighted_classes_are_the_published_ones():
    assert figures(SCORES_2, questions(RIGHT_2, 2, [0.2, 1.0, 0.8, 0.5]), "2") == pytest.approx(
        {"accuracy": 92, "auc_pr": 83.3333333, "auc_roc": 86.6666667, "f1": 90.9090909}
    )


def test_three_classes_are_the_published_ones():
    assert figures(SCORES_3, questions(RIGHT_3, 3), "3") == pytest.approx(
        {"accuracy": 66.6666667, "mean_f1": 55.5555556}
    )
    assert figures(SCORES_3, questions(RIGHT_3, 3, [0.2, 0.5, 1.0]), "3") == pytest.approx(
        {"accuracy": 70.5882353, "mean_f1": 48.1481481}
    )


def test_several_right_choices_are_the_published_ones():
    assert figures(SCORES_3, questions([1, (0, 2), (1, 2)], 3), "3") == pytest.approx({"accuracy": 66.6666667})


def test_any_number_of_choices_is_the_published_one():
    scores, right = [0.1, 0.5, -2, -1, -3, 3.0], [1, (0, 2), 0]
    assert figures(scores, questions(right, [2, 3, 1])) == pytest.approx({"accuracy": 66.6666667})
    assert figures(scores, questions(right, [2, 3, 1], [0.2, 0.5, 1.0])) == pytest.approx({"accuracy": 70.5882353})


def test_the_order_of_the_examples_changes_nothing():
    references, scores = questions(RIGHT_2, 2, [0.2, 1.0, 0.8, 0.5]), [0.1, 0.5, 1.0, 1.1, 0.3, 0.3, 0.6, 0.6]
    expected = figures(scores, references, "2")
    for seed in range(5):
        pairs = list(zip(scores, references, strict=True))
        random.Random(seed).shuffle(pairs)
        assert figures([s for s, _ in pairs], [r for _, r in pairs], "2") == pytest.approx(expected)


def test_scores_by_token_are_the_published_ones():
    values, lengths = [0.5, 5.0, 2.0, 3.3, 1.5, 0.6, 1.8, 1.0], [5, 10, 2, 3, 5, 6, 3, 2]
    scores = list(map(TargetScore, values, lengths))
    assert figures(scores, questions(RIGHT_2, 2), "2", rank_classification_by_token) == pytest.approx(
        {"accuracy": 75, "auc_pr": 50, "auc_roc": 66.6666667, "f1": 66.6666667}
    )


@pytest.mark.parametrize("right", [0, 1, 2])
def test_a_model_that_finds_all_choices_equal_is_never_right(right):
    assert figures([-1.0] * 3, questions([right], 3), "3") == {"accuracy": 0, "mean_f1": 0}
    assert figures([-1.0, -1.0, -2.0], questions([(0, 1)], 3)) == {"accuracy": 100}  # whichever is chosen


def test_without_a_verdict_a_choice_is_right_if_it_is_an_answer():
    references = [Reference(text, ("b", "c"), "q") for text in "abc"]
    assert figures([-3.0, -2.0, -9.0], references) == {"accuracy": 100}
    assert figures([-1.0, -2.0, -9.0], references) == {"accuracy": 0}


def test_choices_need_a_group_and_questions_the_number_of_choices_asked_for():
    with pytest.raises(ValueError, match="rank_classification, which needs a group for each example"):
        figures([1.0], [Reference("a", is_correct=True)])
    with pytest.raises(ValueError, match=r"rank_classification:2, but questions have 1 or 3 choices: use"):
        figures([1.0, 2.0, 3.0, 4.0], questions([0, 0], [1, 3]), "2")


def test_a_choice_without_a_verdict_is_not_taken_for_right():
    with pytest.raises(ValueError, match=r"and whether it is right: .*'is_correct' or 'answers'"):
        figures([1.0, 2.0], [Reference("a", group="q"), Reference("b", group="q")])


def test_a_question_of_which_only_some_choices_are_evaluated_is_refused():
    references = [reference._replace(group_size=2) for reference in questions([0, 1], 2)]
    assert figures([2.0, 1.0, 2.0, 1.0], references) == {"accuracy": 50}
    with pytest.raises(ValueError, match=r"only some choices of a question are evaluated: use an eval.num_batches"):
        figures([2.0, 1.0, 2.0], references[:3])


def test_a_model_whose_scores_are_not_numbers_is_never_right():
    values, references = [math.nan] * 4, questions([0, 0], 2)
    assert figures(values, references, "2") == pytest.approx(
        {"accuracy": 0, "f1": 0, "auc_roc": math.nan, "auc_pr": math.nan}, nan_ok=True
    )
    found = score_auc(scored(*values), references)
    assert math.isnan(found["score_auc/roc"])
    assert math.isnan(found["score_auc/pr"])
