# SPDX-License-Identifier: Apache-2.0
"""WNLI as pronoun resolution: `wsc: The fish ate the worm. *It* was tasty.` -> `The worm`.

WNLI's hypothesis is a clause of its premise with a pronoun replaced by a noun. The words around the pronoun locate the
noun, so that a model trained on WSC can be evaluated; T5 says that its rules suit the validation and test splits.

Source: T5 `preprocessors.wnli_simple`, `tasks.py` (glue_wnli_v002_simple_eval).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.tasks import glue
from t5x_lite.tasks.formats import UNKNOWN_LABEL, from_tfds, take

PRONOUNS = frozenset(("he", "she", "they", "it", "her", "his", "their", "them", "him"))
ARTICLES = ("a", "an", "the")
END = re.compile(r"[.,?!]$")
TRUE_LABEL = 1


class _Match(NamedTuple):
    """A pronoun of the premise, and what stands in its place in the hypothesis."""

    num_words: int  # around the pronoun that the hypothesis has too
    index: int  # of the pronoun
    noun: str


def wnli_simple(record: Record) -> Record:
    """Formats a premise with its pronoun between stars, and the hypothesis's noun as targets.

    `is_correct` says whether the pronoun refers to that noun, unless the label is unknown.
    """
    premise, hypothesis = take(record, "sentence1", str), take(record, "sentence2", str)
    words, others = _words(premise), _words(hypothesis)
    matches = [_match(words, others, index) for index, word in enumerate(words) if word in PRONOUNS]
    best = max(matches, key=lambda match: match.num_words, default=_Match(0, 0, ""))
    noun = _as_written(_from_article(best.noun), hypothesis)
    if not best.noun or not noun:
        raise BadRecord(
            f"a record has {hypothesis[:60]!r} in 'sentence2', which does not replace a pronoun of its 'sentence1': "
            "read glue/wnli, or remove the record"
        )
    example = {"inputs": f"wsc: {_starred(premise, best.index)}", "targets": noun}
    label = take(record, "label", int)
    return example if label == UNKNOWN_LABEL else {**example, "is_correct": label == TRUE_LABEL}


def _words(sentence: str) -> list[str]:
    return [word for word in (END.sub("", word) for word in sentence.strip().lower().split(" ")) if word]


def _match(premise: Sequence[str], hypothesis: Sequence[str], index: int) -> _Match:
    """Finds what the hypothesis has between the words before and after a pronoun of the premise."""
    before, after = premise[:index], premise[index + 1 :]
    num_before, num_after = _num_shared(before[::-1], hypothesis[::-1]), _num_shared(after, hypothesis)
    if not num_before + num_after:
        return _Match(0, index, "")
    left = [re.escape(word) for word in before[len(before) - num_before :]]
    right = [re.escape(word) for word in after[:num_after]]
    # The noun may also be at the start or at the end of the hypothesis.
    patterns = ([*left, "(.+)", *right], ["^(.+)", *right], [*left, "(.+)$"])
    found = (re.search(" ".join(pattern), " ".join(hypothesis)) for pattern in patterns)
    return _Match(num_before + num_after, index, next((match[1] for match in found if match), ""))


def _num_shared(words: Sequence[str], others: Sequence[str]) -> int:
    """Returns how many of the first words occur together in the other text."""
    text = " ".join(others)
    return next((n for n in range(len(words)) if " ".join(words[: n + 1]) not in text), len(words))


def _from_article(noun: str) -> str:
    """Returns the noun from its last article on, since what was found may begin too early."""
    words = noun.split(" ")
    return " ".join(words[max((words.index(article) for article in ARTICLES if article in words), default=0) :])


def _as_written(noun: str, hypothesis: str) -> str:
    """Returns the noun as the hypothesis writes it, without a possessive ending; empty if it is not there."""
    pattern = " ".join(rf"{re.escape(word)}[.,?!]?" for word in noun.split(" "))
    found = re.search(pattern, hypothesis, re.IGNORECASE)
    return re.sub(r"'s?$", "", END.sub("", found[0])) if found else ""


def _starred(premise: str, index: int) -> str:
    words = premise.split(" ")
    word = END.sub("", words[index])
    words[index] = f"*{word}* {words[index][-1]}" if word != words[index] else f"*{word}*"
    return " ".join(words)


WNLI_SIMPLE_EVAL = from_tfds(
    f"glue/wnli:{glue.VERSION}", preprocess=f"{__name__}:wnli_simple", metrics=("wsc_accuracy",)
)
