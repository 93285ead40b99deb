# SPDX-License-Identifier: Apache-2.0
"""How long examples are, what a limit cuts off them, and how much of their rows is padding.

Shape letters: E examples, F sides of an example (1 of text, 2 of a pair).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from t5x_lite.data.examples import pair_lengths
from t5x_lite.data.packing import PLANS

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "max": 1.0}
PACKED_PAIRS = 10_000  # are packed to measure padding, of more of them those at even distances; takes 0.2 seconds
MOST_CUT = 0.01  # share of the targets that a recommended length may cut
MOST_CANDIDATES = 9  # lengths that are tried, from half to twice the one that fills both sides alike


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The lengths of some examples, in tokens."""

    mean: float
    quantiles: dict[str, int]  # by the names of QUANTILES; the shortest length that so many do not exceed


@dataclasses.dataclass(frozen=True)
class Cut:
    """What a limit takes away."""

    limit: int  # tokens
    num_examples: int  # that are longer
    num_tokens: int  # that are lost


@dataclasses.dataclass(frozen=True)
class Padding:
    """The share of the places of some rows that hold no token."""

    num_rows: int
    inputs: float
    targets: float
    both: float


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A `train.targets_length`, and what comes of it with `data.packing` best_fit."""

    targets_length: int
    num_cut: int  # targets that are longer
    padding: Padding


def side_lengths(ends_EF: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the tokens of each `documents`, or of each `inputs` and `targets` with EOS: int64 [E] by name.

    Args:
      ends_EF: where each side of each document ends in the stream of all of them.
    """
    if ends_EF.shape[1] == 1:
        return {"documents": np.diff(ends_EF[:, 0], prepend=0)}
    return dict(zip(("inputs", "targets"), pair_lengths(ends_EF).T, strict=True))


def describe_lengths(lengths_E: np.ndarray) -> Lengths:
    """Returns the mean and the quantiles of one length or more."""
    quantiles = np.quantile(lengths_E, list(QUANTILES.values()), method="inverted_cdf")
    return Lengths(float(lengths_E.mean()), dict(zip(QUANTILES, map(int, quantiles), strict=True)))


def cut_off(lengths_E: np.ndarray, limit: int) -> Cut:
    """Returns what a limit takes away from examples; lengths and limit count the EOS, which is kept."""
    over_E = np.maximum(lengths_E - limit, 0)
    return Cut(limit, int(np.count_nonzero(over_E)), int(over_E.sum()))


def padding(lengths_E2: np.ndarray, capacity: Sequence[int], num_rows: int) -> Padding:
    """Returns the padding of some rows.

    Args:
      lengths_E2: inputs and targets of the pairs in them, none above its capacity.
      capacity: places a row has for inputs and for targets.
      num_rows: how many rows.
    """
    shares = 1 - lengths_E2.sum(axis=0) / (num_rows * np.asarray(capacity))
    both = 1 - float(lengths_E2.sum()) / (num_rows * sum(capacity))
    return Padding(num_rows, float(shares[0]), float(shares[1]), both)


def padding_by_packing(lengths_E2: np.ndarray, capacity: Sequence[int]) -> dict[str, Padding]:
    """Returns the padding of pairs that are `unpacked`, and packed by each of `packing.PLANS`.

    Args:
      lengths_E2: inputs and targets, EOS included, cut or not; of more than PACKED_PAIRS, a sample is packed.
      capacity: places a row has for inputs and for targets.
    """
    cut_E2 = np.minimum(lengths_E2, capacity)
    packed = {method: _packed(method, cut_E2, capacity) for method in PLANS}
    return {"unpacked": padding(cut_E2, capacity, len(cut_E2))} | packed


def candidates(lengths_E2: np.ndarray, inputs_length: int) -> list[Candidate]:
    """Returns what some values of `train.targets_length` come to, in ascending order.

    Args:
      lengths_E2: inputs and targets, EOS included.
      inputs_length: places a row has for inputs.

    Returns:
      Round lengths about the one at which inputs and targets fill a row alike, none of which cuts more than MOST_CUT
      of the targets.
    """
    mean_inputs, mean_targets = np.minimum(lengths_E2, (inputs_length, np.inf)).mean(axis=0)
    alike = inputs_length * mean_targets / mean_inputs
    shortest = np.quantile(lengths_E2[:, 1], 1 - MOST_CUT, method="inverted_cdf")
    first = next(length for length in _round_lengths() if length >= max(shortest, alike / 2))
    tried = [length for length in _round_lengths() if first <= length <= max(first, 2 * alike)]
    found = []
    for length in tried[:MOST_CANDIDATES]:
        capacity = (inputs_length, length)
        packed = _packed("best_fit", np.minimum(lengths_E2, capacity), capacity)
        found.append(Candidate(length, cut_off(lengths_E2[:, 1], length).num_examples, packed))
    return found


def recommended(found: Sequence[Candidate]) -> Candidate:
    """Returns the candidate with the least padding, the shortest of several."""
    return min(found, key=lambda candidate: candidate.padding.both)


def _packed(method: str, cut_E2: np.ndarray, capacity: Sequence[int]) -> Padding:
    """The padding of pairs that are packed; rows are those of all, also where a sample is packed."""
    count = min(len(cut_E2), PACKED_PAIRS)
    sample = cut_E2[np.arange(count) * len(cut_E2) // count]
    num_rows = len(PLANS[method](sample, capacity).ends_R)
    of_sample = padding(sample, capacity, num_rows)
    return dataclasses.replace(of_sample, num_rows=round(num_rows * len(cut_E2) / count))


def _round_lengths() -> list[int]:
    """Four lengths a doubling, multiples of 8 from 32 on: 8, 10, 12, 14, 16, 20 and so on."""
    return [quarters << shift for shift in range(1, 40) for quarters in (4, 5, 6, 7)]
