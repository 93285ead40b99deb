# SPDX-License-Identifier: Apache-2.0
"""The slices of a job: TPU slices or GPU hosts, connected by a slower network."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def by_slice(devices: Sequence[Any], num_slices: int | None = None) -> list[list[Any]]:
    """Groups the devices by slice: the TPU slice or GPU host within which the network is fast.

    Raises ValueError unless there are `num_slices` slices (None: any number) of equal size.
    """
    by_index: dict[int, list[Any]] = {}
    for device in devices:
        by_index.setdefault(getattr(device, "slice_index", 0) or 0, []).append(device)
    slices = [by_index[index] for index in sorted(by_index)]
    if num_slices is not None and len(slices) == 1:  # without slice_index, devices are split in order
        slices = [list(part) for part in np.array_split(np.array(devices, object), num_slices)]
    if num_slices not in (None, len(slices)) or len({len(part) for part in slices}) > 1:
        raise ValueError(
            f"mesh.slices is {num_slices}, but the {len(devices)} devices are in slices of "
            f"{', '.join(str(len(part)) for part in slices)}: leave mesh.slices out, or use the number of slices"
        )
    return slices
