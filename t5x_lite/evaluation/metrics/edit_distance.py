# SPDX-License-Identifier: Apache-2.0
r"""Word-level edit distance: the insertions, deletions and substitutions that correct a prediction.

As in T5, a text is split at each character that is not a letter, digit or underscore (`\W`), so that there is an empty
word between the two characters of ", " and after a final full stop.

Shape letters: M words of the answer.

Source: T5 `edit_distance` in `t5/evaluation/metrics.py`.
"""

import math
import re
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from t5x_lite.evaluation.metrics.reference import Reference


def edit_distance(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Word-level edit distance to the nearest accepted text, ignoring case.

    Returns:
      edit_distance/min, max, mean, median and sum, in words; edit_distance/word_error_rate, the sum as a percentage of
      the non-empty words in those texts, which can exceed 100 and is nan if there are none.
    """
    return _distances("edit_distance", predictions, references, fold=str.lower)


def cased_edit_distance(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Like `edit_distance`, but case matters: cased_edit_distance/min, and so on."""
    return _distances("cased_edit_distance", predictions, references, fold=str)


def _distances(
    name: str, predictions: Sequence[str], references: Sequence[Reference], *, fold: Callable[[str], str]
) -> dict[str, float]:
    distances, num_words = [], 0
    for prediction, reference in zip(predictions, references, strict=True):
        words, *answers = (_words(fold(text)) for text in (prediction, *reference.accepted))
        distance, length = min((word_distance(words, answer), sum(map(bool, answer))) for answer in answers)
        distances.append(distance)
        num_words += length
    values = {
        "min": min(distances),
        "max": max(distances),
        "mean": statistics.fmean(distances),
        "median": statistics.median(distances),
        "sum": sum(distances),
        "word_error_rate": 100 * sum(distances) / num_words if num_words else math.nan,
    }
    return {f"{name}/{statistic}": float(value) for statistic, value in values.items()}


def word_distance(prediction: Sequence[str], answer: Sequence[str]) -> int:
    """Returns the Levenshtein distance between two lists of words, computed row by row."""
    ids = {word: number for number, word in enumerate({*prediction, *answer})}
    answer_M = np.array([ids[word] for word in answer], np.int64)
    column = np.arange(len(answer) + 1)
    row = column
    for word in prediction:
        step = row + 1  # deletes the predicted word
        step[1:] = np.minimum(step[1:], row[:-1] + (answer_M != ids[word]))
        # Inserting k words of the answer moves k columns and costs k.
        row = np.minimum.accumulate(step - column) + column
    return int(row[-1])


def _words(text: str) -> list[str]:
    return re.split(r"\W", text)
