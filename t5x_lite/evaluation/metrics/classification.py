# SPDX-License-Identifier: Apache-2.0
"""Classification metrics over label texts: accuracy, exact match, F1 and Matthews correlation.

Texts are compared exactly, as in T5. The classes are the references' targets, unless a metric names them.

Source: T5 `t5/evaluation/metrics.py`, and the scikit-learn functions it calls.
"""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference, grouped


def accuracy(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Percentage of predictions that are accepted; also T5's `sequence_accuracy`."""
    return {"accuracy": 100 * fmean(_accepted(predictions, references))}


def exact_match(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Percentage of groups whose predictions are all accepted; MultiRC's EM."""
    accepted = _accepted(predictions, references)
    return {"exact_match": 100 * fmean(all(accepted[i] for i in group) for group in grouped(references))}


def f1(predictions: Sequence[str], references: Sequence[Reference], positive: str) -> dict[str, float]:
    """F1 of one label against all others, in percent, as f1/LABEL.

    A prediction outside the classes is always wrong: a false negative if the target is positive, a false positive
    otherwise. If no reference has the label, F1 is 0.

    Source: T5 `f1_score_with_invalid`.
    """
    classes = {reference.targets for reference in references}
    outcomes = Counter()
    for prediction, reference in zip(predictions, references, strict=True):
        actual = reference.targets == positive
        predicted = prediction == positive if prediction in classes else not actual
        outcomes[actual, predicted] += 1
    return {f"f1/{positive}": 100 * _f1(outcomes[True, True], outcomes[False, True], outcomes[True, False])}


def mean_f1(predictions: Sequence[str], references: Sequence[Reference], classes: str = "") -> dict[str, float]:
    """Macro-averaged F1 over the `classes`, separated by commas, or else over the references' targets; in percent.

    The F1 of a class without examples is 0, whether it is predicted or not.

    Source: T5 `mean_multiclass_f1`; CB's F1.
    """
    targets = Counter(reference.targets for reference in references)
    predicted = Counter(predictions)
    correct = Counter(p for p, r in zip(predictions, references, strict=True) if p == r.targets)
    labels = classes.split(",") if classes else targets
    f1s = [_f1(correct[label], predicted[label] - correct[label], targets[label] - correct[label]) for label in labels]
    return {"mean_f1": 100 * fmean(f1s)}


def matthews(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Matthews correlation coefficient for two or more classes, times 100: 0 is chance.

    As in T5, predictions outside the classes form one more class, and the coefficient is 0, not 0 / 0, if all targets
    or all predictions are of one class.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    """
    targets = Counter(reference.targets for reference in references)
    predicted = Counter(prediction if prediction in targets else None for prediction in predictions)
    num_correct = sum(p == r.targets for p, r in zip(predictions, references, strict=True))
    squared = len(references) ** 2
    covariance = num_correct * len(references) - sum(targets[label] * predicted[label] for label in targets)
    target_variance = squared - sum(count**2 for count in targets.values())
    predicted_variance = squared - sum(count**2 for count in predicted.values())
    if not target_variance or not predicted_variance:
        return {"matthews": 0.0}
    return {"matthews": 100 * covariance / math.sqrt(target_variance * predicted_variance)}


def _accepted(predictions: Sequence[str], references: Sequence[Reference]) -> list[bool]:
    return [p in reference.accepted for p, reference in zip(predictions, references, strict=True)]


def _f1(true_positives: int, false_positives: int, false_negatives: int) -> float:
    return 2 * true_positives / max(1, 2 * true_positives + false_positives + false_negatives)
