# SPDX-License-Identifier: Apache-2.0
"""Question answering metrics: exact match and word F1 after the normalisation of SQuAD, TriviaQA or CoQA.

Each prediction is scored against its best accepted answer. As in the official scripts, an answer that normalises to
nothing ("the", "$$$") can match exactly but has F1 0.

Source: T5 `t5/evaluation/qa_utils.py` and `metrics.py`, which follow the evaluation scripts of SQuAD v1.1, TriviaQA
v1.0 and CoQA.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference, grouped

ARTICLES = re.compile(r"\b(a|an|the)\b")
NON_WORD = re.compile(r"\W")
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


def span_squad(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """SQuAD's exact match and F1 of answers predicted as "start: 3 end: 6": span_squad/em and span_squad/f1.

    The numbers are the first and last word of the answer in the reference's `context`, from 0. Any other prediction,
    such as words for numbers, is an empty answer. Words are separated by spaces and punctuation.
    """
    answers = [_span(prediction, r.context) for prediction, r in zip(predictions, references, strict=True)]
    return _scores("span_squad", answers, [r.accepted for r in references], normalize=normalize_squad)


def coqa_f1(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """CoQA's word F1 after SQuAD's normalisation, in percent; an empty prediction of an empty answer has F1 1."""
    f1s = []
    for prediction, reference in zip(map(normalize_squad, predictions), references, strict=True):
        answers = map(normalize_squad, reference.accepted)
        f1s.append(max(1.0 if prediction == a == "" else _f1_of_words(prediction.split(), a.split()) for a in answers))
    return {"coqa_f1": 100 * fmean(f1s)}


def _span(prediction: str, context: str) -> str:
    tokens = NON_WORD.sub(" ", prediction).split()
    try:
        first, last = int(tokens[1]), int(tokens[3])
    except (IndexError, ValueError):
        return ""
    return " ".join(NON_WORD.sub(" ", context).split()[first : last + 1])


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
