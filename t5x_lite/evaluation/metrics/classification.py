# SPDX-License-Identifier: Apache-2.0
"""Labels as texts: how many are right, and F1 and Matthews' coefficient for classes of unequal size.

Texts are compared character for character, as T5 does. The classes are the targets of the references: a label no
example has is unknown here, where T5 has the list of the data set.

Source: T5 `t5/evaluation/metrics.py`, and the functions of scikit-learn it calls.
"""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference, grouped


def accuracy(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Share of the predictions that are an accepted text, in percent; T5's `sequence_accuracy` too."""
    return {"accuracy": 100 * fmean(_right(predictions, references))}


def exact_match(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Share of the groups of which every prediction is an accepted text, in percent; MultiRC's EM."""
    right = _right(predictions, references)
    return {"exact_match": 100 * fmean(all(right[place] for place in group) for group in grouped(references))}


def f1(predictions: Sequence[str], references: Sequence[Reference], positive: str) -> dict[str, float]:
    """F1 of one label against the others, in percent.

    A prediction that is no class at all counts as wrong: as a miss where the target is the label, as a false alarm
    where it is not.

    Args:
      predictions: one text an example.
      references: their labels.
      positive: the label that is looked for.

    Returns:
      f1/LABEL; nan where no reference has the label, because then there is nothing to find (scikit-learn's 0 would
      hide a label that is misspelt).

    Source: T5 `f1_score_with_invalid`.
    """
    classes = {reference.targets for reference in references}
    outcomes = Counter()
    for prediction, reference in zip(predictions, references, strict=True):
        wanted = reference.targets == positive
        found = prediction == positive if prediction in classes else not wanted
        outcomes[wanted, found] += 1
    if not outcomes[True, True] + outcomes[True, False]:
        return {f"f1/{positive}": math.nan}
    return {f"f1/{positive}": 100 * _f1(outcomes[True, True], outcomes[False, True], outcomes[True, False])}


def mean_f1(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Mean of the F1 of each class, all classes weighing the same, in percent; CB's F1.

    Source: T5 `mean_multiclass_f1`, which also counts classes of the data set that no example has, as 0.
    """
    targets = Counter(reference.targets for reference in references)
    predicted = Counter(predictions)
    hits = Counter(p for p, r in zip(predictions, references, strict=True) if p == r.targets)
    f1s = [_f1(hits[label], predicted[label] - hits[label], targets[label] - hits[label]) for label in targets]
    return {"mean_f1": 100 * fmean(f1s)}


def matthews(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Matthews' correlation coefficient for two or more classes, times 100: from -100 to 100, 0 for guessing.

    All predictions that are no class at all are one more class, as T5's label -1. Where all targets, or all
    predictions, are one class the coefficient is 0 / 0 and reported as 0, as T5 does.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    """
    targets = Counter(reference.targets for reference in references)
    predicted = Counter(prediction if prediction in targets else None for prediction in predictions)
    num_right = sum(p == r.targets for p, r in zip(predictions, references, strict=True))
    squared = len(references) ** 2
    covariance = num_right * len(references) - sum(targets[label] * predicted[label] for label in targets)
    of_targets = squared - sum(count**2 for count in targets.values())
    of_predicted = squared - sum(count**2 for count in predicted.values())
    if not of_targets or not of_predicted:
        return {"matthews": 0.0}
    return {"matthews": 100 * covariance / math.sqrt(of_targets * of_predicted)}


def _right(predictions: Sequence[str], references: Sequence[Reference]) -> list[bool]:
    return [p in reference.accepted for p, reference in zip(predictions, references, strict=True)]


def _f1(hits: int, false_alarms: int, misses: int) -> float:
    return 2 * hits / (2 * hits + false_alarms + misses)
