# SPDX-License-Identifier: Apache-2.0
"""Correlations of predicted and target numbers.

Shape letters: N examples.

Source: T5 `pearson_corrcoef` and `spearman_corrcoef` in `t5/evaluation/metrics.py`, `string_to_float` in
`t5/data/postprocessors.py`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5x_lite.evaluation.metrics.reference import Reference

NOT_A_NUMBER = -1.0  # T5's value for an unreadable prediction; STS-B scores range from 0 to 5


def pearson(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Pearson's correlation coefficient, times 100; nan if the predictions or the targets are constant.

    Raises ValueError if a target is not a number.
    """
    return {"pearson": 100 * _correlation(predicted_numbers(predictions), target_numbers("pearson", references))}


def spearman(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Spearman's rank correlation coefficient, times 100; ties share their mean rank.

    It is nan if the predictions or the targets are constant. Raises ValueError if a target is not a number.
    """
    from scipy import stats  # takes a second to import

    predicted_N, targets_N = predicted_numbers(predictions), target_numbers("spearman", references)
    return {"spearman": 100 * _correlation(stats.rankdata(predicted_N), stats.rankdata(targets_N))}


def predicted_numbers(predictions: Sequence[str]) -> np.ndarray:
    """Returns predictions as numbers [N], with NOT_A_NUMBER for other texts."""
    numbers = map(as_number, predictions)
    return np.array([NOT_A_NUMBER if number is None else number for number in numbers])


def target_numbers(name: str, references: Sequence[Reference]) -> np.ndarray:
    """Returns targets as numbers [N]; raises ValueError, naming the metric, if one is not a number."""
    numbers = [as_number(reference.targets) for reference in references]
    if None in numbers:
        raise ValueError(
            f"task.metrics has {name}, which needs targets that are finite numbers, but one is "
            f"{references[numbers.index(None)].targets!r}: fix task.targets, or leave {name} out"
        )
    return np.array(numbers, np.float64)


def as_number(text: str) -> float | None:
    """Returns a finite number or None: a single nan among the predictions would make the whole score nan."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _correlation(x_N: np.ndarray, y_N: np.ndarray) -> float:
    from scipy import stats

    if x_N.min() == x_N.max() or y_N.min() == y_N.max():  # SciPy warns, and rejects a single example
        return math.nan
    # Without scaling, the square of a predicted 1e300 would overflow.
    correlation: Any = stats.pearsonr(x_N / np.abs(x_N).max(), y_N / np.abs(y_N).max())[0]
    return float(correlation)
