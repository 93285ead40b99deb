# SPDX-License-Identifier: Apache-2.0
"""Gathers some ids of each row, and pads them to a fixed length.

Shape letters: B batch, L ids per row before, S after.
"""

from collections.abc import Sequence

import numpy as np


def gather_rows(
    ids_BL: np.ndarray,
    keep_BL: np.ndarray,
    *,
    length: int,
    eos_id: int,
    pad_id: int = 0,
    prefix_ids: Sequence[int] = (),
) -> np.ndarray:
    """Returns int32 rows_BS of `length` ids: the prefix, the ids where `keep_BL` is True, EOS and padding."""
    stop_B1 = len(prefix_ids) + np.count_nonzero(keep_BL, axis=1)[:, None]
    assert stop_B1.max(initial=0) < length, "a row does not fit"
    place_1S = np.arange(length)[None]
    rows_BS = np.full((len(ids_BL), length), pad_id, np.int32)
    rows_BS[:, : len(prefix_ids)] = prefix_ids
    # Both masks are traversed in row-major order and have the same number of True values in each row.
    rows_BS[(place_1S >= len(prefix_ids)) & (place_1S < stop_B1)] = ids_BL[keep_BL]
    np.put_along_axis(rows_BS, stop_B1, eos_id, axis=1)
    return rows_BS
