# SPDX-License-Identifier: Apache-2.0
"""How rows of ids become the rectangles that a model takes, and whether they fit.

Shape letters: B batch, L places of a row before, X ids of a row, S places of a row after.
"""

from collections.abc import Sequence

import numpy as np

from t5x_lite.config import TrainConfig


def pad_rows(ids_BX: np.ndarray, length: int, prefix_ids: Sequence[int] = ()) -> np.ndarray:
    """Returns int32 rows_BS of `length` places: the prefix, the ids, zeros."""
    num_prefix, num_ids = len(prefix_ids), ids_BX.shape[1]
    rows_BS = np.zeros((len(ids_BX), length), np.int32)
    rows_BS[:, :num_prefix] = prefix_ids
    rows_BS[:, num_prefix : num_prefix + num_ids] = ids_BX
    return rows_BS


def gather_rows(
    ids_BL: np.ndarray, keep_BL: np.ndarray, *, length: int, eos_id: int, prefix_ids: Sequence[int] = ()
) -> np.ndarray:
    """Closes the gaps that dropped ids leave; rows may keep different numbers of them.

    Args:
      ids_BL: ids.
      keep_BL: bool, False where an id is dropped.
      length: S, no less than any row needs.
      eos_id: put after the last id of a row.
      prefix_ids: put before the first.

    Returns:
      int32 rows_BS: the prefix, the ids that are kept, EOS, zeros.
    """
    stop_B1 = len(prefix_ids) + np.count_nonzero(keep_BL, axis=1)[:, None]
    assert stop_B1.max(initial=0) < length, "a row is longer than its place"
    place_1S = np.arange(length)[None]
    rows_BS = np.zeros((len(ids_BL), length), np.int32)
    rows_BS[:, : len(prefix_ids)] = prefix_ids
    # Both masks are read row by row, and have as many True in each.
    rows_BS[(place_1S >= len(prefix_ids)) & (place_1S < stop_B1)] = ids_BL[keep_BL]
    np.put_along_axis(rows_BS, stop_B1, eos_id, axis=1)
    return rows_BS


def fit_targets(train: TrainConfig, num_targets: int) -> int:
    """Returns T, places for the targets: `train.targets_length`, or `num_targets` where that is null.

    Raises:
      ValueError: if `train.targets_length` is less than `num_targets`.
    """
    if train.targets_length is not None and train.targets_length < num_targets:
        raise ValueError(
            f"train.targets_length {train.targets_length} cuts targets off: train.inputs_length "
            f"{train.inputs_length} yields {num_targets} of them; use that, or leave the field out"
        )
    return train.targets_length or num_targets
