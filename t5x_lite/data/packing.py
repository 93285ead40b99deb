# SPDX-License-Identifier: Apache-2.0
"""Packs several pairs into each row: plans the rows of an epoch and fills the arrays of a batch.

Shape letters: B rows per batch, R rows per epoch, E examples, N candidate examples, F features (inputs and targets),
L tokens per row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.data.converters import Batch
from t5x_lite.data.pairs import Pairs

MOST_OPEN_ROWS = 512  # rows that first_fit searches for room
# best_fit packs blocks of examples independently, and tries at most NUM_TRIED candidates for a row. On GSM8K, trying
# 2,048 instead of 256 took about six times as long and saved 0.7% of the space.
BLOCK_EXAMPLES, NUM_TRIED = 4_096, 256


class Plan(NamedTuple):
    """The assignment of examples to rows."""

    example_E: np.ndarray  # example numbers, row by row, ascending within a row
    ends_R: np.ndarray  # end offset of each row in `example_E`

    def row(self, number: int) -> np.ndarray:
        """Returns the numbers of the examples in a row."""
        return self.example_E[self.ends_R[number - 1] if number else 0 : self.ends_R[number]]


def first_fit(lengths_EF: np.ndarray, capacity_F: Sequence[int]) -> Plan:
    """Puts each example, in order, into the first row with enough room; no length may exceed its capacity."""
    capacity = np.asarray(capacity_F, np.int64)
    free_RF = np.zeros((MOST_OPEN_ROWS, len(capacity)), np.int64)
    row_R = np.full(MOST_OPEN_ROWS, -1)  # the number of each open row
    row_of_E, num_rows, num_open = np.zeros(len(lengths_EF), np.int64), 0, 0
    for example, length_F in enumerate(lengths_EF):
        fits_R = np.all(free_RF[:num_open] >= length_F, axis=1)
        place = int(fits_R.argmax()) if num_open else 0
        if not (num_open and fits_R[place]):
            if num_open < MOST_OPEN_ROWS:
                place, num_open = num_open, num_open + 1
            else:  # close the fullest row
                place = int((free_RF / capacity).sum(axis=1).argmin())
            free_RF[place], row_R[place] = capacity, num_rows
            num_rows += 1
        free_RF[place] -= length_F
        row_of_E[example] = row_R[place]
    return _plan(row_of_E, num_rows)


def best_fit(lengths_EF: np.ndarray, capacity_F: Sequence[int]) -> Plan:
    """Fills one row at a time: first with the largest remaining example, then with those that fit best.

    Tries two scores and keeps the plan with fewer rows. Both favour leaving little space; one penalises an imbalance
    between the features in absolute terms, the other relative to the total.
    """
    plans = [_fill_by(lengths_EF, np.asarray(capacity_F, np.int64), score) for score in (_even_room, _even_share)]
    return min(plans, key=lambda plan: len(plan.ends_R))


PLANS = {"first_fit": first_fit, "best_fit": best_fit}


def _even_room(left_NF: np.ndarray) -> np.ndarray:
    return left_NF.sum(axis=1) + 2 * np.ptp(left_NF, axis=1)


def _even_share(left_NF: np.ndarray) -> np.ndarray:
    total_N = left_NF.sum(axis=1)
    return np.ptp(left_NF, axis=1) / (total_N + 0.01) + 2 * total_N


def _fill_by(lengths_EF: np.ndarray, capacity_F: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> Plan:
    row_of_E, num_rows = np.zeros(len(lengths_EF), np.int64), 0
    num_blocks = -(-len(lengths_EF) // BLOCK_EXAMPLES)
    for block in range(num_blocks):
        numbers = np.arange(block, len(lengths_EF), num_blocks)
        largest_first = np.argsort(-(lengths_EF[numbers] / capacity_F).sum(axis=1), kind="stable")
        numbers = numbers[largest_first]
        lengths, is_left = lengths_EF[numbers], np.ones(len(numbers), bool)
        while is_left.any():
            for place in _suiting(lengths, is_left, capacity_F, score):
                is_left[place], row_of_E[numbers[place]] = False, num_rows
            num_rows += 1
    return _plan(row_of_E, num_rows)


def _suiting(
    lengths_EF: np.ndarray, is_left: np.ndarray, capacity_F: np.ndarray, score: Callable[[np.ndarray], np.ndarray]
) -> Iterator[int]:
    """Yields the examples for one row, as indices into `lengths_EF`."""
    places = np.flatnonzero(is_left)
    yield int(places[0])
    free_F, places = capacity_F - lengths_EF[places[0]], places[1:]
    if len(places) > NUM_TRIED:
        places = places[np.linspace(0, len(places) - 1, NUM_TRIED).astype(np.int64)]
    while True:
        places = places[np.all(lengths_EF[places] <= free_F, axis=1)]
        if not len(places):
            return
        best = int(score((free_F - lengths_EF[places]) / capacity_F).argmin())
        yield int(places[best])
        free_F = free_F - lengths_EF[places[best]]
        places = np.delete(places, best)


def _plan(row_of_E: np.ndarray, num_rows: int) -> Plan:
    return Plan(np.argsort(row_of_E, kind="stable"), np.cumsum(np.bincount(row_of_E, minlength=num_rows)))


class PackedPairs:
    """Pairs packed several to a row by a method of `PLANS`; the rows are the same in every epoch.

    Args:
      pairs: the pairs.
      method: a key of `PLANS`.
      joined: whether the inputs and targets of a row share S + T places, which a decoder reads pair by pair, so that
        rows of either are that long; otherwise each has its own length.
    """

    def __init__(self, pairs: Pairs, method: str, *, joined: bool = False):
        self.pairs, self.seed = pairs, pairs.seed
        self.inputs_length, self.targets_length = pairs.inputs_length, pairs.targets_length
        self.pad_id = pairs.pad_id
        self.joined = joined
        self.plan = PLANS[method](*packed_lengths(pairs.cut_lengths(), self._capacity(), joined=joined))

    def _capacity(self) -> tuple[int, int]:
        return self.inputs_length, self.targets_length

    def __len__(self) -> int:
        return len(self.plan.ends_R)

    def __call__(self, number_B: np.ndarray, index_B: np.ndarray) -> Batch:
        del index_B
        members = [self.plan.row(int(number)) for number in number_B]
        pairs = iter(self.pairs.read(np.concatenate(members)))
        inputs, targets = 2 * [sum(self._capacity())] if self.joined else self._capacity()
        lengths: dict[str, int] = {"inputs": inputs, "targets": targets}
        return fill_rows([[next(pairs) for _ in row] for row in members], lengths, pad_id=self.pad_id)


def packed_lengths(
    lengths_E2: np.ndarray, capacity: Sequence[int], *, joined: bool
) -> tuple[np.ndarray, Sequence[int]]:
    """Returns lengths of pairs and the capacity of a row: of inputs and targets, or of both as one if `joined`."""
    return (lengths_E2.sum(axis=1, keepdims=True), [sum(capacity)]) if joined else (lengths_E2, capacity)


def fill_rows(
    rows: Sequence[Sequence[Mapping[str, np.ndarray]]], lengths: Mapping[str, int], *, pad_id: int = 0
) -> Batch:
    """Concatenates the examples of each row and pads it; raises ValueError if they do not fit.

    Args:
      rows: the examples of each row, as ids by feature.
      lengths: the row length of each feature.
      pad_id: the id of padding.

    Returns:
      Each feature, FEATURE_segment_ids (from 1; 0 for padding) and FEATURE_positions (from 0 in each example), all
      int32 [B, L].
    """
    filled: Batch = {}
    for feature, length in lengths.items():
        ids_BL, segments_BL, positions_BL = (np.full((len(rows), length), fill, np.int32) for fill in (pad_id, 0, 0))
        for b, examples in enumerate(rows):
            begin = 0
            for segment, example in enumerate(examples, 1):
                ids = example[feature]
                end = begin + len(ids)
                if end > length:
                    raise ValueError(f"the {feature} of a row have {end} tokens, but there is room for {length}")
                ids_BL[b, begin:end] = ids
                segments_BL[b, begin:end] = segment
                positions_BL[b, begin:end] = np.arange(len(ids))
                begin = end
        filled |= {feature: ids_BL, f"{feature}_segment_ids": segments_BL, f"{feature}_positions": positions_BL}
    return filled
