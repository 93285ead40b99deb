"""Tests t5x_lite/model/flops.py."""

import pytest

from t5x_lite.model.flops import peak_flops, train_flops
from t5x_lite.model.presets import presets


@pytest.mark.parametrize(
    ("name", "targets_length", "tera"),
    [("small", 128, 0.110), ("base", 114, 0.426), ("large", 128, 1.50), ("xl", 128, 5.47), ("xxl", 128, 21.4)],
)
def test_a_training_sequence_costs_the_tera_flops_counted_by_hand(name, targets_length, tera):
    flops = train_flops(presets[f"t5_1_1_{name}"], 512, targets_length)
    assert flops / 1e12 == pytest.approx(tera, rel=0.004)


def test_the_peak_of_a_chip_is_known_by_its_kind():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("TPU v5 lite") == 197e12
    assert peak_flops("cpu") is None
