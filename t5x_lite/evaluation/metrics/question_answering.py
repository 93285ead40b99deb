# SPDX-License-Identifier: Apache-2.0
"""Question answering metrics: exact match and word F1 after SQuAD's or TriviaQA's normalisation.

Each prediction is scored against its best accepted answer. As in the official scripts, an answer that normalises to
nothing ("the", "$$$") can match exactly but has F1 0.

Source: T5 `t5/evaluation/qa_utils.py`, which follows the evaluation scripts of SQuAD v1.1 and TriviaQA v1.0.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference, grouped

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, ""))
SPACED_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´", " "))


def squad(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """SQuAD v1.1's exact match and F1, in percent: squad/em and squad/f1."""
    return _scores("squad", predictions, [r.accepted for r in references], normalize=normalize_squad)


def deduplicated_squad(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """`squad` with one example per group, for ReCoRD, which repeats a question for each of its answers.

    A group is scored by its first prediction against all its answers.
    """
    groups = grouped(references)
    answers = [[answer for i in group for answer in references[i].accepted] for group in groups]
    firsts = [predictions[group[0]] for group in groups]
    return _scores("deduplicated_squad", firsts, answers, normalize=normalize_squad)


def trivia_qa(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """TriviaQA's exact match and F1, in percent: trivia_qa/em and trivia_qa/f1."""
    return _scores("trivia_qa", predictions, [r.accepted for r in references], normalize=normalize_trivia_qa)


def normalize_squad(text: str) -> str:
    """Lower-cases text and removes ASCII punctuation, articles and repeated spaces."""
    return _without_articles(text.lower().translate(NO_PUNCTUATION))


def normalize_trivia_qa(text: str) -> str:
    """Like `normalize_squad`, but punctuation, including curly quotes, separates words: "A_LOT" becomes "lot"."""
    return _without_articles(text.lower().translate(SPACED_PUNCTUATION))


def _without_articles(text: str) -> str:
    return " ".join(ARTICLES.sub(" ", text).split())


def _scores(
    name: str, predictions: Sequence[str], answers: Sequence[Sequence[str]], *, normalize: Callable[[str], str]
) -> dict[str, float]:
    matches, f1s = [], []
    for prediction, accepted in zip(map(normalize, predictions), answers, strict=True):
        normalized = {normalize(answer) for answer in accepted}
        matches.append(prediction in normalized)
        f1s.append(max(_f1_of_words(prediction.split(), answer.split()) for answer in normalized))
    return {f"{name}/em": 100 * fmean(matches), f"{name}/f1": 100 * fmean(f1s)}


def _f1_of_words(prediction: list[str], answer: list[str]) -> float:
    num_shared = (Counter(prediction) & Counter(answer)).total()
    return 2 * num_shared / max(1, len(prediction) + len(answer))
