"""Tests t5x_lite/perf/roofline.py"""

import pytest

from t5x_lite.perf.chips import Chip
from t5x_lite.perf.collectives import Traffic
from t5x_lite.perf.roofline import roofline

CHIP = Chip(
    name="C", flops=100.0, hbm_bytes=1.0, hbm_bandwidth=20.0, ici_bandwidth=5.0, dcn_bandwidth=0.5, source="here"
)


def test_the_busiest_part_rules_and_the_sum_is_the_slowest():
    rows = [Traffic("all-gather", "ici", 3, 9, 10), Traffic("all-reduce", "ici", 1, 4, 5), Traffic("x", "dcn", 1, 1, 1)]
    found = roofline(CHIP, model_flops=300.0, recompute_flops=100.0, hbm_bytes=60.0, traffic=rows)
    assert (found.compute_seconds, found.hbm_seconds, found.ici_seconds, found.dcn_seconds) == (4.0, 3.0, 3.0, 2.0)
    assert (found.bound, found.fastest_seconds, found.slowest_seconds) == ("compute", 4.0, 12.0)
    assert found.mfu_bound == 0.75
    assert found.inputs["ici_bytes"] == 15
    assert found.inputs["source"] == "here"


def test_memory_can_rule():
    found = roofline(CHIP, model_flops=100.0, recompute_flops=0.0, hbm_bytes=80.0, traffic=[])
    assert (found.bound, found.fastest_seconds, found.mfu_bound) == ("hbm", 4.0, 0.25)


def test_a_network_of_unknown_speed_that_is_needed_is_named():
    chip = Chip(name="C", flops=1.0, hbm_bytes=1.0, hbm_bandwidth=1.0, source="here")
    with pytest.raises(ValueError, match="the program uses ici, and the ici bandwidth of C is unknown"):
        roofline(chip, model_flops=1.0, recompute_flops=0.0, hbm_bytes=1.0, traffic=[Traffic("x", "ici", 1, 1, 1)])
