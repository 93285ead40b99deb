# SPDX-License-Identifier: Apache-2.0
"""Finds tokens that were added to a vocabulary in texts, as Hugging Face's `tokenizers` library does.

Each text between two of them is tokenised on its own. Sentinels are found in the same way.

Source: the library's documentation of `AddedToken`; compared with transformers in tests.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence

from t5x_lite.data.tokenizers.base import SENTINEL

FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
WORD = re.compile(r"\w")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A text that is one token, as in Hugging Face's tokenizers.

    Args:
      text: the text.
      id: its id; None for the one it has in the vocabulary, or else the next one.
      lstrip: whether spaces before it belong to it.
      rstrip: whether spaces after it belong to it.
      single_word: whether it is not found beside a letter, digit or underscore.
      normalized: whether it is searched for in the normalised text.
      special: whether other libraries treat it as a control token; this has no effect here.
    """

    text: str
    id: int | None = None
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = False

    @property
    def flags(self) -> dict[str, bool]:
        """The options by name, as in files of Hugging Face."""
        return {name: getattr(self, name) for name in FLAGS}


class Splitter:
    """Splits texts at tokens.

    Args:
      tokens: the tokens, with ids.
      sentinels: the texts of sentinels, and their ids.
      normalise: the vocabulary's normaliser, for tokens that are searched for in normalised text.
    """

    def __init__(self, tokens: Iterable[AddedToken], sentinels: dict[str, int], normalise: Callable[[str], str] = str):
        tokens = list(tokens)
        self._raw = {token.text: token for token in tokens if not token.normalized}
        self._normalized = {normalise(token.text): token for token in tokens if token.normalized}
        self._normalized.pop("", None)
        self._normalise = normalise
        self._raw |= {text: AddedToken(text=text, id=i) for text, i in sentinels.items()}
        texts = [text for text in self._raw if text not in sentinels]
        self._raw_pattern = _pattern(texts, [SENTINEL] * bool(sentinels))
        self._normalized_pattern = _pattern(self._normalized)

    def __call__(self, text: str) -> list[str | int]:
        """Returns ids of tokens and the texts between them, in order."""
        parts = _split(text, self._raw_pattern, self._raw)
        if not self._normalized:
            return parts
        split: list[str | int] = []
        for part in parts:
            text = self._normalise(part) if isinstance(part, str) else ""
            found = _split(text, self._normalized_pattern, self._normalized)
            split += found if any(isinstance(piece, int) for piece in found) else [part]
        return split


def _id(token: AddedToken) -> int:
    assert token.id is not None
    return token.id


def _pattern(texts: Iterable[str], patterns: Sequence[str] = ()) -> re.Pattern[str] | None:
    """Returns a pattern that finds the leftmost text, and the longest of those."""
    every = [*map(re.escape, sorted(texts, key=len, reverse=True)), *patterns]
    return re.compile("|".join(every)) if every else None


def _split(text: str, pattern: re.Pattern[str] | None, tokens: dict[str, AddedToken]) -> list[str | int]:
    parts: list[str | int] = []
    done = 0
    for match in pattern.finditer(text) if pattern else ():
        token, (begin, end) = tokens.get(match[0]), match.span()
        if token is None:
            continue
        if token.single_word and (WORD.match(text[max(begin - 1, 0) : begin]) or WORD.match(text, end)):
            continue
        while token.lstrip and begin > done and text[begin - 1].isspace():
            begin -= 1
        begin = max(begin, done) if token.lstrip else begin
        while token.rstrip and end < len(text) and text[end].isspace():
            end += 1
        if done < begin:
            parts.append(text[done:begin])
        if begin < end:  # unless the token before it has taken it as a space
            parts.append(_id(token))
        done = end
    if done < len(text):
        parts.append(text[done:])
    return parts
