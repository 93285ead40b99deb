# SPDX-License-Identifier: Apache-2.0
"""The text of an answer while its tokens come: what can be sent already, and where a stop string cuts it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.serving.batch import Grown

# A character may be several byte tokens, 4 at most: what the last 3 say may change with the next one.
MOST_OPEN_TOKENS = 3


class Piece(NamedTuple):
    """What is new of an answer."""

    text: str
    tokens: list[str]  # these four have an entry a token; empty if nobody asked for log-probabilities
    log_probs: list[float]
    offsets: list[int]  # where each token begins in the whole text
    finish: Literal["stop", "length"] | None  # None while it goes on


class Choice:
    """One answer as its tokens come.

    Args:
      tokenizer: of the model.
      surfaces: what each id stands for, of `Tokenizer.surfaces`; None if no log-probabilities are wanted.
      stops: strings that end the text and are no part of it.
    """

    def __init__(self, tokenizer: Tokenizer, *, surfaces: Sequence[str] | None = None, stops: Sequence[str] = ()):
        self.num_tokens = 0  # decoded so far
        self.finish: Literal["stop", "length"] | None = None
        self._tokenizer, self._surfaces, self._stops = tokenizer, surfaces, stops
        self._sent = ""
        self._num_sent = 0  # tokens

    def take(self, grown: Grown) -> Piece:
        """Returns what is new of a sequence that has grown; nothing once it has been finished."""
        if self.finish:
            return Piece("", [], [], [], self.finish)
        self.num_tokens = grown.num_tokens
        whole = self._tokenizer.decode(grown.ids)
        text = whole
        if grown.finish is None:
            text = _common(whole, self._tokenizer.decode(grown.ids[:-MOST_OPEN_TOKENS]))
        ends = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if ends:
            text, self.finish = text[: min(ends)], "stop"
        else:
            self.finish = grown.finish
        if self.finish is None:
            text = text[: len(text) - self._held_back(text)]
        tokens, log_probs, offsets = self._new_tokens(grown, whole, None if self.finish and not ends else len(text))
        new, self._sent = text[len(self._sent) :], max(text, self._sent, key=len)
        return Piece(new, tokens, log_probs, offsets, self.finish)

    def _held_back(self, text: str) -> int:
        """Returns how many characters at the end may be the beginning of a stop string."""
        longest = max(map(len, self._stops), default=0)
        for length in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0

    def _new_tokens(self, grown: Grown, whole: str, before: int | None) -> tuple[list[str], list[float], list[int]]:
        """Returns surfaces, log-probabilities and offsets of tokens that begin before a place; None is all."""
        if self._surfaces is None:
            return [], [], []
        first, offsets = self._num_sent, []
        for number in range(first, len(grown.ids)):
            offset = len(_common(whole, self._tokenizer.decode(grown.ids[:number])))
            if before is not None and offset >= before:
                break
            offsets.append(offset)
        self._num_sent = end = first + len(offsets)
        tokens = [self._surfaces[i] if i < len(self._surfaces) else "" for i in grown.ids[first:end]]
        return tokens, grown.log_probs[first:end], offsets


def _common(text: str, other: str) -> str:
    """Returns the longest text that both begin with."""
    length = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return text[:length]
