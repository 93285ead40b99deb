# SPDX-License-Identifier: Apache-2.0
"""Incremental detokenisation of growing sequences, up to a stop string."""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.serving.batch import Output

# A character takes at most 4 byte tokens, so the next token can still change the text of the last 3.
MAX_INCOMPLETE_TOKENS = 3


class Delta(NamedTuple):
    """The new part of a choice."""

    text: str
    tokens: list[str]  # like the next two, one entry per token; empty unless log-probabilities are requested
    log_probs: list[float]
    offsets: list[int]  # start of each token in the whole text
    finish: Literal["stop", "length"] | None  # None while the sequence grows
    top: Sequence[dict[str, float]] = ()  # the most probable tokens per token; empty unless requested

    @classmethod
    def join(cls, deltas: Sequence["Delta"]) -> "Delta":
        """Returns the concatenation of all parts of a choice."""
        texts, tokens, log_probs, offsets, finishes, top = zip(*deltas, strict=True)
        chain = itertools.chain.from_iterable
        return cls(
            "".join(texts), [*chain(tokens)], [*chain(log_probs)], [*chain(offsets)], finishes[-1], [*chain(top)]
        )


class Choice:
    """One choice of a completion; its text grows with its tokens and ends before the first stop string.

    `surfaces` is the string of each token id, from `Tokenizer.surfaces`; None if log-probabilities are not requested.
    Each token comes with the `num_top` most probable ones.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        surfaces: Sequence[str] | None = None,
        num_top: int = 0,
        stops: Sequence[str] = (),
    ):
        self.num_tokens = 0  # decoded so far
        self.finish: Literal["stop", "length"] | None = None
        self._tokenizer, self._surfaces, self._num_top, self._stops = tokenizer, surfaces, num_top, stops
        self._sent = ""
        self._num_sent = 0  # tokens

    def update(self, output: Output) -> Delta:
        """Returns the new part, given a longer output; an empty one if the choice is finished."""
        if self.finish:
            return Delta("", [], [], [], self.finish)
        self.num_tokens = output.num_tokens
        whole = text = self._tokenizer.decode(output.ids)
        if output.finish is None:
            text = whole[: _common_length(whole, self._tokenizer.decode(output.ids[:-MAX_INCOMPLETE_TOKENS]))]
        ends = [position for stop in self._stops if (position := text.find(stop)) >= 0]
        self.finish = "stop" if ends else output.finish
        if ends:
            text = text[: min(ends)]
        elif self.finish is None:
            text = text[: len(text) - self._partial_stop_length(text)]
        first = self._num_sent
        offsets = self._new_offsets(output, whole, None if self.finish and not ends else len(text))
        self._num_sent = stop = first + len(offsets)
        new, self._sent = text[len(self._sent) :], max(text, self._sent, key=len)
        tokens = [self._surface(i) for i in output.ids[first:stop]]
        top = [self._most_probable(output, number) for number in range(first, stop)] if self._num_top else []
        return Delta(new, tokens, output.log_probs[first:stop], offsets, self.finish, top)

    def _partial_stop_length(self, text: str) -> int:
        """Returns the length of the longest suffix that may be the start of a stop string."""
        longest = max(map(len, self._stops), default=0)
        lengths = range(min(longest - 1, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)

    def _new_offsets(self, output: Output, whole: str, end: int | None) -> list[int]:
        """Returns the offsets of the new tokens that start before `end`, of all if None; none if not requested."""
        if self._surfaces is None:
            return []
        first, offsets = self._num_sent, []
        for number in range(first, len(output.ids)):
            offset = _common_length(whole, self._tokenizer.decode(output.ids[:number]))
            if end is not None and offset >= end:
                break
            offsets.append(offset)
        return offsets

    def _surface(self, i: int) -> str:
        return self._surfaces[i] if self._surfaces and i < len(self._surfaces) else "\ufffd"

    def _most_probable(self, output: Output, number: int) -> dict[str, float]:
        """Returns the most probable tokens, and the chosen one if it is not among them, as OpenAI does.

        Tokens with the same string, such as incomplete characters, are told apart by their ids.
        """
        chosen, log_prob = output.ids[number], output.log_probs[number]
        pairs = [*output.top[number][: self._num_top]]
        pairs = [(i, log_prob if i == chosen else value) for i, value in pairs]
        if all(i != chosen for i, _ in pairs):
            pairs.append((chosen, log_prob))
        named: dict[str, float] = {}
        for i, value in pairs:
            surface = self._surface(i)
            named[f"{surface}<id {i}>" if surface in named else surface] = value
        return named


def _common_length(text: str, other: str) -> int:
    """Returns the length of the longest common prefix."""
    return next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
