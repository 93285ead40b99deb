# SPDX-License-Identifier: Apache-2.0
"""Lengths of examples, and the resulting truncation and padding.

Shape letters: E examples, F sides of an example (1 for text, 2 for pairs).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from t5x_lite.data.packing import PLANS, packed_lengths
from t5x_lite.data.pairs import pair_lengths

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "max": 1.0}
UNPACKED = "unpacked"
PACKED_PAIRS = 10_000  # evenly spaced pairs, packed to measure padding in 0.2 seconds
QUANTILE = 0.99  # fraction of examples whose inputs, and whose targets, a recommended length holds whole
MULTIPLE = 8  # of which recommended lengths are
MOST_CANDIDATES = 9  # from half to twice the length at which inputs and targets fill rows equally


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The distribution of lengths, in tokens."""

    mean: float
    quantiles: dict[str, int]  # by the names of QUANTILES


@dataclasses.dataclass(frozen=True)
class Cut:
    """The effect of truncation."""

    limit: int  # tokens
    num_examples: int  # truncated
    num_tokens: int  # lost


@dataclasses.dataclass(frozen=True)
class Padding:
    """The fraction of padding in rows."""

    num_rows: int
    inputs: float
    targets: float
    both: float


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A value of `train.targets_length` and its effect with `data.packing` best_fit."""

    targets_length: int
    num_cut: int  # truncated targets
    padding: Padding


@dataclasses.dataclass(frozen=True)
class Recommended:
    """Lengths for a quantile of the examples, what they cut, and the padding at these lengths by packing."""

    quantile: float
    inputs_length: int
    targets_length: int | None  # None for classifiers, whose targets are never truncated
    cut: dict[str, Cut]  # training examples truncated at these lengths, by side
    padding: dict[str, Padding]  # by packing method, `unpacked` included; empty for classifiers
    packing: str | None  # value of `data.packing` with the least padding


def side_lengths(ends_EF: np.ndarray) -> dict[str, np.ndarray]:
    """Returns int64 [E] lengths of `documents`, or of `inputs` and `targets` including EOS, from end offsets."""
    if ends_EF.shape[1] == 1:
        return {"documents": np.diff(ends_EF[:, 0], prepend=0)}
    return dict(zip(("inputs", "targets"), pair_lengths(ends_EF).T, strict=True))


def describe_lengths(lengths_E: np.ndarray) -> Lengths:
    """Returns the mean and the quantiles of lengths."""
    quantiles = np.quantile(lengths_E, list(QUANTILES.values()), method="inverted_cdf")
    return Lengths(float(lengths_E.mean()), dict(zip(QUANTILES, map(int, quantiles), strict=True)))


def cut_off(lengths_E: np.ndarray, limit: int) -> Cut:
    """Returns the effect of truncation to `limit`; all lengths include EOS, which is kept."""
    over_E = np.maximum(lengths_E - limit, 0)
    return Cut(limit, int(np.count_nonzero(over_E)), int(over_E.sum()))


def padding(lengths_EF: np.ndarray, capacity: Sequence[int], num_rows: int) -> Padding:
    """Returns the padding of rows of pairs, given the result of `packed_lengths` for the pairs after truncation."""
    shares = 1 - lengths_EF.sum(axis=0) / (num_rows * np.asarray(capacity))
    both = 1 - float(lengths_EF.sum()) / (num_rows * sum(capacity))
    return Padding(num_rows, float(shares[0]), float(shares[-1]), both)


def padding_by_packing(lengths_E2: np.ndarray, capacity: Sequence[int], *, joined: bool = False) -> dict[str, Padding]:
    """Returns the padding of pairs `unpacked` and packed by each method, measured on PACKED_PAIRS pairs.

    `joined` is that of `PackedPairs`.
    """
    cut_E2 = np.minimum(lengths_E2, capacity)
    packed = {method: _packed(method, lengths_E2, capacity, joined) for method in PLANS}
    return {UNPACKED: padding(cut_E2, capacity, len(cut_E2))} | packed


def recommend(
    lengths_E2: np.ndarray, quantile: float, *, has_labels: bool = False, joined: bool = False
) -> Recommended:
    """Returns the shortest lengths, in multiples of MULTIPLE, that hold a quantile of the inputs and targets whole.

    Args:
      lengths_E2: lengths of inputs and targets.
      quantile: a fraction of the examples.
      has_labels: whether the model is a classifier, for which only the inputs count.
      joined: that of `PackedPairs`.
    """
    shortest = np.quantile(lengths_E2, quantile, axis=0, method="inverted_cdf").astype(np.int64)
    inputs_length, targets_length = (-(-shortest // MULTIPLE) * MULTIPLE).tolist()
    capacity = inputs_length, targets_length
    sides = ("inputs",) if has_labels else ("inputs", "targets")
    cut = {side: cut_off(lengths_E2[:, i], capacity[i]) for i, side in enumerate(sides)}
    if has_labels:
        return Recommended(quantile, inputs_length, None, cut, {}, None)
    paddings = padding_by_packing(lengths_E2, capacity, joined=joined)
    best = min(paddings, key=lambda method: paddings[method].both)
    packing = "none" if best == UNPACKED else best
    return Recommended(quantile, inputs_length, targets_length, cut, paddings, packing)


def candidates(
    lengths_E2: np.ndarray, inputs_length: int, *, quantile: float = QUANTILE, joined: bool = False
) -> list[Candidate]:
    """Returns values of `train.targets_length` that hold a quantile of the targets whole, in ascending order.

    They are round numbers around the length at which inputs and targets fill rows equally. `joined` is that of
    `PackedPairs`.
    """
    mean_inputs, mean_targets = np.minimum(lengths_E2, (inputs_length, np.inf)).mean(axis=0)
    equal = inputs_length * mean_targets / mean_inputs
    shortest = np.quantile(lengths_E2[:, 1], quantile, method="inverted_cdf")
    # Four lengths per doubling, multiples of 8 from 32 on: 8, 10, 12, 14, 16, 20 and so on.
    round_lengths = [quarters << shift for shift in range(1, 40) for quarters in (4, 5, 6, 7)]
    first = next(length for length in round_lengths if length >= max(shortest, equal / 2))
    tried = [length for length in round_lengths if first <= length <= max(first, 2 * equal)]
    return [
        Candidate(
            length,
            num_cut=cut_off(lengths_E2[:, 1], length).num_examples,
            padding=_packed("best_fit", lengths_E2, (inputs_length, length), joined),
        )
        for length in tried[:MOST_CANDIDATES]
    ]


def _packed(method: str, lengths_E2: np.ndarray, capacity: Sequence[int], joined: bool) -> Padding:
    """Returns the padding of packed pairs, extrapolated from a sample of PACKED_PAIRS."""
    count = min(len(lengths_E2), PACKED_PAIRS)
    sample = np.minimum(lengths_E2[np.arange(count) * len(lengths_E2) // count], capacity)
    sample, places = packed_lengths(sample, capacity, joined=joined)
    num_rows = len(PLANS[method](sample, places).ends_R)
    of_sample = padding(sample, places, num_rows)
    return dataclasses.replace(of_sample, num_rows=round(num_rows * len(lengths_E2) / count))
