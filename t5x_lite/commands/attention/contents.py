# SPDX-License-Identifier: Apache-2.0
"""Attention maps and token probabilities of one text, ready to display.

Shape letters: L layers, N heads, Q queries, K keys.
"""

from typing import NamedTuple

import numpy as np


class Map(NamedTuple):
    """Attention maps of one kind, for the layers and heads shown.

    Args:
      name: kind of attention, such as "encoder self-attention".
      weights_LNQK: softmax weights; each query's weights sum to 1.
      layers: index of each layer in its stack, from 0.
      heads: index of each head in its layer, from 0.
      queries: Q tokens that attend.
      keys: K tokens attended to.
      predicts: token predicted at each query, or "".
    """

    name: str
    weights_LNQK: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    predicts: tuple[str, ...]


class Candidate(NamedTuple):
    """A token or label, and its probability."""

    token: str
    probability: float


class Step(NamedTuple):
    """One prediction.

    Args:
      place: index of the predicting query, from 0; -1 for a prediction of the whole sequence.
      reads: input token at that position; "" for a prediction of the whole sequence.
      chosen: the target's token and its probability.
      candidates: the most probable tokens, best first.
    """

    place: int
    reads: str
    chosen: Candidate
    candidates: tuple[Candidate, ...]


class Contents(NamedTuple):
    """The contents of a page.

    Args:
      title: title line.
      facts: further lines by name: the text, the target.
      maps: one or more attention maps.
      steps: predictions by position.
    """

    title: str
    facts: dict[str, str]
    maps: tuple[Map, ...]
    steps: tuple[Step, ...]
