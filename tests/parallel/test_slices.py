"""Tests t5x_lite/parallel/slices.py"""

from typing import NamedTuple

import pytest

from t5x_lite.parallel.slices import by_slice


class FakeDevice(NamedTuple):
    id: int
    slice_index: int


def test_the_slices_that_devices_tell_of_are_taken():
    devices = [FakeDevice(index, index % 2) for index in range(6)]
    assert [[device.id for device in part] for part in by_slice(devices)] == [[0, 2, 4], [1, 3, 5]]
    with pytest.raises(
        ValueError, match=r"mesh.slices is 3, but the 6 devices are in slices of 3, 3: leave mesh.slices"
    ):
        by_slice(devices, 3)
    with pytest.raises(ValueError, match=r"the 5 devices are in slices of 3, 2"):
        by_slice(devices[:5])
