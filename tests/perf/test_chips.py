"""Tests t5x_lite/perf/chips.py"""

import pytest

from t5x_lite.perf.chips import CHIPS, chip_of


@pytest.mark.parametrize(
    ("device_kind", "name"),
    [
        ("TPU v5 lite", "TPU v5e"),
        ("TPU v5e", "TPU v5e"),
        ("TPU v5", "TPU v5p"),
        ("TPU v5p", "TPU v5p"),
        ("TPU v6 lite", "TPU v6e"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
    ],
)
def test_a_chip_is_found_by_the_longest_prefix_of_its_device_kind(device_kind, name):
    chip = chip_of(device_kind)
    assert chip is not None
    assert chip.name == name


def test_a_cpu_is_not_known():
    assert chip_of("cpu") is None


def test_every_chip_names_its_source():
    assert all(chip.source for chip in CHIPS.values())
