# SPDX-License-Identifier: Apache-2.0
"""Attention maps and token probabilities of one text, ready to display.

Shape letters: L layers, N heads, Q queries, K keys.
"""

from typing import NamedTuple

import numpy as np


class Map(NamedTuple):
    """Attention maps of one kind, for the selected layers and heads."""

    name: str  # such as "encoder self-attention"
    weights_LNQK: np.ndarray  # softmax weights; each query's sum to 1
    layers: tuple[int, ...]  # indices in the stack, from 0
    heads: tuple[int, ...]  # indices in the layer, from 0
    queries: tuple[str, ...]  # attending tokens
    keys: tuple[str, ...]  # attended tokens
    predicts: tuple[str, ...]  # token predicted at each query, or ""


class Candidate(NamedTuple):
    """A token or label and its probability."""

    token: str
    probability: float


class Step(NamedTuple):
    """One prediction."""

    place: int  # index of the predicting query, from 0; -1 for a sequence classifier
    reads: str  # input token at that position; "" for a sequence classifier
    chosen: Candidate  # the target token
    candidates: tuple[Candidate, ...]  # the most probable tokens, best first


class Contents(NamedTuple):
    """The contents of a page."""

    title: str
    facts: dict[str, str]  # further lines by name: the text, the target
    maps: tuple[Map, ...]
    steps: tuple[Step, ...]  # by position
