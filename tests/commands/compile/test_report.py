"""Tests t5x_lite/commands/compile/report.py on a program of eight fake devices."""

import dataclasses
import json

import jax
import pytest

from t5x_lite.commands.compile.compiling import compile_ahead
from t5x_lite.commands.compile.report import chip_bytes, described, report, slice_numbers
from t5x_lite.config import MeshConfig
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.perf.chips import CHIPS
from t5x_lite.perf.flops import train_flops
from t5x_lite.perf.roofline import roofline
from tests import runs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return runs.config(tmp_path_factory.mktemp("report"), mesh=MeshConfig(data=2, fsdp=4, slices=2), remat="full")


@pytest.fixture(scope="module")
def compiled(config):
    return compile_ahead(config, "train", None, None)


@pytest.fixture(scope="module")
def found(config, compiled):
    return report(config, compiled, what="train", topology=None)


def test_the_parts_of_a_chip_are_those_of_its_shards(compiled, found):
    state = compiled.program.shapes
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.model))
    tables = 2 * 4 * 32 * 4  # position biases, whose heads fsdp does not cut
    assert found.memory.parameters == chip_bytes(state.model) == (whole - tables) // 4 + tables
    assert found.num_parameters == whole // 4


def test_flops_are_those_of_the_whole_batch(compiled, found):
    lengths = (compiled.features["encoder_input_tokens"][0], compiled.features["decoder_input_tokens"][0])
    assert found.model_flops == 8 * train_flops(compiled.program.model, *lengths)
    assert 0.2 < found.recompute_flops / found.model_flops < 0.34


def test_gradients_are_summed_over_slices_and_kernels_gathered_within_them(found):
    networks = {(row.kind, row.network) for row in found.collectives}
    assert ("all-reduce", "dcn") in networks
    assert ("all-gather", "ici") in networks
    assert ("all-gather", "dcn") not in networks
    assert found.num_slices == 2


def test_a_device_that_is_not_known_has_no_roofline(found):
    assert (found.roofline, found.hbm_gib, found.fits) == (None, None, None)
    assert "no roofline: this device's speed is not known" in described(found)


def test_all_of_it_is_json(found):
    fields = json.loads(json.dumps(dataclasses.asdict(found)))
    names = {"trace_seconds", "compile_seconds", "peak_gib", "argument_gib", "temporary_gib", "hbm_gib", "fits"}
    assert names | {"model_flops", "recompute_flops", "collectives", "roofline"} <= fields.keys()


def test_people_read_what_fits_and_what_rules(found):
    bounds = roofline(CHIPS["TPU v5"], model_flops=4e14, recompute_flops=1e14, hbm_bytes=10**9, traffic=[])
    text = described(dataclasses.replace(found, hbm_gib=95.0, fits=True, roofline=bounds))
    assert "fits its 95.00 GiB" in text
    assert "compute rules, MFU at most 80.0%" in text
    assert "source: https://cloud.google.com/tpu/docs/v5p" in text
    assert "DOES NOT FIT" in described(dataclasses.replace(found, hbm_gib=0.001, fits=False))


def test_the_slices_are_those_of_the_mesh():
    assert slice_numbers(make_mesh(MeshConfig(data=4, fsdp=2, slices=4)), 4) == [0, 0, 1, 1, 2, 2, 3, 3]
