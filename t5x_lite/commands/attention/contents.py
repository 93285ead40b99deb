# SPDX-License-Identifier: Apache-2.0
"""What there is to show of one example: maps of attention, and the probabilities of what is predicted.

Shape letters: L layers, N heads, Q queries, K keys.
"""

from typing import NamedTuple

import numpy as np


class Map(NamedTuple):
    """The attention of one kind, of all layers and heads that are shown.

    Args:
      name: such as "encoder self-attention".
      weights_LNQK: softmax weights, those of each query sum to 1.
      layers: number of each layer in its stack, from 0.
      heads: number of each head in its layer, from 0.
      queries: Q tokens that look.
      keys: K tokens that are looked at.
      predicts: for each query the token that is predicted there, "" where none is.
    """

    name: str
    weights_LNQK: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    predicts: tuple[str, ...]


class Candidate(NamedTuple):
    """A token, or label, and how probable a model finds it."""

    token: str
    probability: float


class Step(NamedTuple):
    """One prediction.

    Args:
      place: number of the query that predicts, from 0; -1 for a whole sequence.
      reads: the token at that place; "" for a whole sequence.
      chosen: the target's token and its probability.
      candidates: the most probable ones, the best first.
    """

    place: int
    reads: str
    chosen: Candidate
    candidates: tuple[Candidate, ...]


class Contents(NamedTuple):
    """All that is shown.

    Args:
      title: in one line.
      facts: lines of more, by name: the text, the target.
      maps: one or more.
      steps: in the order of their places.
    """

    title: str
    facts: dict[str, str]
    maps: tuple[Map, ...]
    steps: tuple[Step, ...]
