# SPDX-License-Identifier: Apache-2.0
"""Checks whether predicted nouns are the right referents of pronouns, for WSC and WNLI.

Source: T5 `wsc_simple` in `t5/data/postprocessors.py`.
"""

from collections.abc import Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference

DETERMINERS = frozenset({
    "a", "an", "each", "every", "few", "her", "his", "many", "much", "my", "our", "some", "that", "the", "their",
    "these", "this", "those", "which", "whose", "your",
})  # fmt: skip


def wsc_accuracy(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Percentage of predictions that name the noun in `targets` exactly when the reference's `is_correct` says so.

    Raises:
      ValueError: if a reference has no `is_correct`.
    """
    if any(reference.is_correct is None for reference in references):
        raise ValueError(
            "task.metrics has wsc_accuracy, which needs an 'is_correct' for each example: make task.preprocess return "
            "whether the targets are what the pronoun refers to"
        )
    pairs = zip(predictions, references, strict=True)
    return {"wsc_accuracy": 100 * fmean(names(p, r.targets) is r.is_correct for p, r in pairs)}


def names(prediction: str, noun: str) -> bool | None:
    """Returns whether a prediction names a noun: the words of one are among the other's; None if it has no words.

    Ignores case and determiners. Both texts or neither must have an apostrophe: "Bob's hat" is not "Bob".
    """
    prediction, noun = _clean(prediction), _clean(noun)
    if not prediction:
        return None
    if ("'" in prediction) != ("'" in noun):
        return False
    predicted, actual = set(prediction.split(" ")), set(noun.split(" "))
    return predicted <= actual or actual <= predicted


def _clean(text: str) -> str:
    return " ".join(word for word in text.strip().lower().split(" ") if word not in DETERMINERS)
