# SPDX-License-Identifier: Apache-2.0
"""Numbers as texts: how well predicted ones follow those asked for.

Shape letters: N examples.

Source: T5 `pearson_corrcoef` and `spearman_corrcoef` in `t5/evaluation/metrics.py`, `string_to_float` in
`t5/data/postprocessors.py`.
"""

import math
from collections.abc import Sequence

import numpy as np

from t5x_lite.evaluation.metrics.reference import Reference

NOT_A_NUMBER = -1.0  # what T5 takes for a prediction that cannot be read as one; the scores of STS-B are 0 to 5


def pearson(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Pearson's correlation of predictions and targets read as numbers, times 100.

    Returns:
      pearson; nan where the predictions or the targets are all the same number, because what does not vary follows
      nothing (SciPy, which T5 calls, gives nan and a warning).

    Raises:
      ValueError: if targets are not numbers.
    """
    return {"pearson": 100 * _correlation(_predicted(predictions), _targets("pearson", references))}


def spearman(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Pearson's correlation of the ranks, times 100; equal numbers share the mean of their ranks.

    Returns:
      spearman; nan as `pearson`.

    Raises:
      ValueError: if targets are not numbers.
    """
    predicted_N, targets_N = _predicted(predictions), _targets("spearman", references)
    return {"spearman": 100 * _correlation(_ranks(predicted_N), _ranks(targets_N))}


def _predicted(predictions: Sequence[str]) -> np.ndarray:
    numbers = map(_number, predictions)
    return np.array([NOT_A_NUMBER if number is None else number for number in numbers])


def _targets(name: str, references: Sequence[Reference]) -> np.ndarray:
    numbers = [_number(reference.targets) for reference in references]
    if None in numbers:
        raise ValueError(
            f"task.metrics has {name}, which needs targets that are finite numbers, and one is "
            f"{references[numbers.index(None)].targets!r}: mend task.targets, or leave {name} out"
        )
    return np.array(numbers, np.float64)


def _number(text: str) -> float | None:
    """A finite number, or None: one predicted "nan" would be the score of the whole set."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ranks(x_N: np.ndarray) -> np.ndarray:
    _, place_N, counts = np.unique(x_N, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[place_N]


def _correlation(x_N: np.ndarray, y_N: np.ndarray) -> float:
    # Compared before the mean is subtracted: three times 0.1 have a mean a little off 0.1.
    if x_N.min() == x_N.max() or y_N.min() == y_N.max():
        return math.nan
    x_N, y_N = _standardised(x_N), _standardised(y_N)
    return float(np.clip(x_N @ y_N, -1.0, 1.0))


def _standardised(x_N: np.ndarray) -> np.ndarray:
    """Zero mean and unit norm. The largest is made 1 first: a model may say 1e300, whose square is no float."""
    x_N = x_N / np.abs(x_N).max()
    x_N = x_N - x_N.mean()
    return x_N / np.linalg.norm(x_N)
