# SPDX-License-Identifier: Apache-2.0
"""Pads rows of ids to a fixed length.

Shape letters: B batch, X ids per row before padding, S after.
"""

from collections.abc import Sequence

import numpy as np


def pad_rows(ids_BX: np.ndarray, length: int, prefix_ids: Sequence[int] = (), *, pad_id: int = 0) -> np.ndarray:
    """Returns int32 rows_BS of `length` ids: the prefix, the ids and padding."""
    num_prefix, num_ids = len(prefix_ids), ids_BX.shape[1]
    rows_BS = np.full((len(ids_BX), length), pad_id, np.int32)
    rows_BS[:, :num_prefix] = prefix_ids
    rows_BS[:, num_prefix : num_prefix + num_ids] = ids_BX
    return rows_BS
