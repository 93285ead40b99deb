# SPDX-License-Identifier: Apache-2.0
"""Mixes the examples of several tasks, or of several objectives on one text, at fixed rates.

Shape letters: B rows per batch, M members of the mixture.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.converters import Batch
from t5x_lite.data.examples import Examples, spread

FIRST = np.zeros(1, np.int64)


def example_rates(task: TaskConfig, counts: Mapping[str, int]) -> dict[str, float]:
    """Returns each task's fraction of the examples of a mixture; the fractions add up to 1.

    Args:
      task: `TaskSpecs.whole`, a mixture or not.
      counts: numbers of examples by task, named as in `TaskSpecs.each`.

    Source: SeqIO `Mixture` and `rate_num_examples`: without rates, min(examples, cap) ** (1 / temperature).
    """
    if task.mixture is None:
        return {"": 1.0}
    mixture = task.mixture
    inside = {
        name: {inner.partition("/")[2]: count for inner, count in counts.items() if inner.split("/")[0] == name}
        for name in mixture.tasks
    }
    weights = mixture.rates or {
        name: min(sum(inner.values()), mixture.cap or np.inf) ** (1 / mixture.temperature)
        for name, inner in inside.items()
    }
    total = sum(weights.values())
    return {
        f"{name}/{inner}" if inner else name: weights[name] / total * rate
        for name, member in mixture.tasks.items()
        for inner, rate in example_rates(member, inside[name]).items()
    }


class Mixed:
    """A mixture with a fixed number of rows from each member per epoch.

    An epoch has the total number of rows of all members. A member with too few rows for its rate repeats them;
    one with more continues in the next epoch where it stopped. `rates` are relative weights, but every member gets at
    least one row per epoch.
    """

    def __init__(self, members: Sequence[Examples], rates: Sequence[float], *, seed: int):
        self.members, self.seed, self.pad_id = list(members), seed, members[0].pad_id
        self.inputs_length = max(member.inputs_length for member in members)
        self.targets_length = max(member.targets_length for member in members)
        self.count_M = _rounded(np.asarray(rates, float), sum(map(len, members)))
        self._end_M = np.cumsum(self.count_M)
        self._features: Batch = {}  # empty arrays, as wide as the widest member's
        samples = [member(FIRST, FIRST) for member in self.members]
        self._is_packed = any("inputs_segment_ids" in rows for rows in samples)
        for rows in samples:
            for name, ids_1X in _with_all_features(rows, self._is_packed, self.pad_id).items():
                width = max(ids_1X.shape[1], self._features[name].shape[1] if name in self._features else 0)
                self._features[name] = np.zeros((0, width), ids_1X.dtype)

    def __len__(self) -> int:
        return int(self._end_M[-1])

    def __call__(self, number_B: np.ndarray, index_B: np.ndarray) -> Batch:
        B = len(number_B)
        fill: dict[str, int] = {"inputs": self.pad_id, "targets": self.pad_id}
        rows = {
            name: np.full((B, none.shape[1]), fill.get(name, 0), none.dtype) for name, none in self._features.items()
        }
        member_B = np.searchsorted(self._end_M, number_B, side="right")
        for m in np.unique(member_B):
            here = np.flatnonzero(member_B == m)
            rank = number_B[here] - (self._end_M[m] - self.count_M[m])
            place = index_B[here] // len(self) * self.count_M[m] + rank  # index in the member's own stream
            size = len(self.members[m])
            part = _with_all_features(self.members[m](spread(place % size, size), place), self._is_packed, self.pad_id)
            for name, ids in part.items():
                rows[name][here, : ids.shape[1]] = ids
        return rows


def _rounded(rate_M: np.ndarray, total: int) -> np.ndarray:
    """Returns integers proportional to the rates, at least 1 each, adding up to `total` or slightly more."""
    wanted_M = rate_M / rate_M.sum() * total
    count_M = np.floor(wanted_M).astype(np.int64)
    largest_remainders = np.argsort(count_M - wanted_M, kind="stable")[: total - count_M.sum()]
    count_M[largest_remainders] += 1
    return np.maximum(count_M, 1)


def _with_all_features(rows: Batch, packed: bool, pad_id: int) -> Batch:
    """Adds features that other members may have: loss weights, and segments and positions if `packed`."""
    rows = {"loss_weights": (rows["targets"] != pad_id).astype(np.int32)} | rows
    if packed and "inputs_segment_ids" not in rows:
        for name in ("inputs", "targets"):
            is_token = (rows[name] != pad_id).astype(np.int32)
            rows[f"{name}_segment_ids"] = is_token
            rows[f"{name}_positions"] = np.arange(is_token.shape[1], dtype=np.int32) * is_token
    return rows
