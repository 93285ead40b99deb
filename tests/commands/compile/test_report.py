"""Tests t5x_lite/commands/compile/report.py on a program of eight fake devices."""

import dataclasses
import json

import jax
import pytest

from t5x_lite.commands.compile.compiling import compile_ahead
from t5x_lite.commands.compile.report import chip_bytes, describe, make_report, slice_numbers
from t5x_lite.config import MeshConfig
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.perf.chips import CHIPS
from t5x_lite.perf.flops import train_flops
from t5x_lite.perf.roofline import roofline
from t5x_lite.training.resolve import resolve_run
from tests import runs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return runs.config(tmp_path_factory.mktemp("report"), mesh=MeshConfig(data=2, fsdp=4, slices=2), remat="full")


@pytest.fixture(scope="module")
def compiled(config):
    return compile_ahead(resolve_run(config), "train", None)


@pytest.fixture(scope="module")
def report(config, compiled):
    return make_report(config, compiled, what="train", topology=None)


def test_memory_is_that_of_one_chips_shards(compiled, report):
    state = compiled.program.shapes
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.model))
    tables = 2 * 4 * 32 * 4  # position biases, whose heads fsdp does not shard
    assert report.memory.parameters == chip_bytes(state.model) == (whole - tables) // 4 + tables
    assert report.num_parameters == whole // 4


def test_flops_are_those_of_the_whole_batch(compiled, report):
    lengths = (compiled.features["encoder_input_tokens"][0], compiled.features["decoder_input_tokens"][0])
    assert report.model_flops == 8 * train_flops(compiled.program.model, *lengths)
    assert 0.2 < report.recompute_flops / report.model_flops < 0.34


def test_gradients_are_summed_over_slices_and_kernels_gathered_within_them(report):
    networks = {(row.kind, row.network) for row in report.collectives}
    assert ("all-reduce", "dcn") in networks
    assert ("all-gather", "ici") in networks
    assert ("all-gather", "dcn") not in networks
    assert report.num_slices == 2


def test_an_unknown_device_has_no_roofline(report):
    assert (report.roofline, report.hbm_gib, report.fits) == (None, None, None)
    assert "no roofline: the speed of this device is unknown" in describe(report)


def test_a_report_is_json(report):
    fields = json.loads(json.dumps(dataclasses.asdict(report)))
    names = {"trace_seconds", "compile_seconds", "peak_gib", "argument_gib", "temporary_gib", "hbm_gib", "fits"}
    assert names | {"model_flops", "recompute_flops", "collectives", "roofline"} <= fields.keys()


def test_the_text_says_what_fits_and_what_bounds_the_speed(report):
    bounds = roofline(CHIPS["TPU v5"], model_flops=4e14, recompute_flops=1e14, hbm_bytes=10**9, traffic=[])
    text = describe(dataclasses.replace(report, hbm_gib=95.0, fits=True, roofline=bounds))
    assert "fits its 95.00 GiB" in text
    assert "bound by compute, MFU at most 80.0%" in text
    assert "source: https://cloud.google.com/tpu/docs/v5p" in text
    assert "DOES NOT FIT" in describe(dataclasses.replace(report, hbm_gib=0.001, fits=False))


def test_the_slices_are_those_of_the_mesh():
    assert slice_numbers(make_mesh(MeshConfig(data=4, fsdp=2, slices=4)), 4) == [0, 0, 1, 1, 2, 2, 3, 3]
