"""Tests t5x_lite/commands/models.py"""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from t5x_lite.commands import models
from t5x_lite.config import OptimizerConfig
from t5x_lite.model.presets import presets
from t5x_lite.model.transformer import T5
from t5x_lite.optim import make_optimizer
from t5x_lite.parallel.mesh import parameter_axes
from t5x_lite.perf.flops import forward_flops
from tests import tiny

# One for each way in which presets differ otherwise than in sizes.
KINDS = ("t5_small", "byt5_small", "umt5_small", "ul2")


def listed(capsys, *names: str, as_json: bool = True, inputs_length: int = 40, targets_length: int = 24) -> str:
    models.run(names, as_json=as_json, inputs_length=inputs_length, targets_length=targets_length)
    return capsys.readouterr().out


@pytest.mark.parametrize("cfg", [*(presets[name] for name in KINDS), *tiny.FAMILY.values()])
def test_the_shapes_and_axes_are_those_of_the_model_itself(cfg):
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    shapes, axes = models.parameter_shapes(cfg)
    for found, expected in ((shapes, model), (axes, parameter_axes(model))):
        assert [(path, str(leaf)) for path, leaf in jax.tree.leaves_with_path(found)] == [
            (path, str(leaf)) for path, leaf in jax.tree.leaves_with_path(expected)
        ]


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_the_memory_of_an_optimizer_is_that_of_the_arrays_it_makes(optimizer):
    # Large enough for Adafactor to factor some parameters, and with others that it does not factor.
    cfg = dataclasses.replace(tiny.UMT5, emb_dim=136, num_heads=10, head_dim=13, mlp_dim=144)
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    tx = make_optimizer(OptimizerConfig(name=optimizer), 20_000, parameter_axes(model))
    state = jax.jit(tx.init)(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), model))
    _, *found = models.memory(cfg)
    assert found[("adafactor", "adamw").index(optimizer)] == sum(leaf.nbytes for leaf in jax.tree.leaves(state))


def test_adamw_keeps_two_numbers_a_parameter_and_adafactor_next_to_none(capsys):
    (row,) = json.loads(listed(capsys, "t5_1_1_base"))
    parameters = 247_577_856
    assert row["num_parameters"] == parameters
    assert row["inference_float32_bytes"] == 4 * parameters
    assert row["inference_bfloat16_bytes"] == 2 * parameters
    assert 0 <= row["train_adamw_bytes"] - 16 * parameters < 100  # Adam's and the schedule's counts of steps
    assert 8 * parameters < row["train_adafactor_bytes"] < 8.03 * parameters


def test_flops_are_a_token_s_at_the_lengths_given(capsys):
    (row,) = json.loads(listed(capsys, "byt5_small", inputs_length=100, targets_length=28))
    assert (row["inputs_length"], row["targets_length"]) == (100, 28)
    assert row["forward_flops_per_token"] == forward_flops(presets["byt5_small"], 100, 28) / 128
    assert row["train_flops_per_token"] == 3 * row["forward_flops_per_token"]


def test_a_table_shows_the_numbers_with_their_units_and_says_what_is_left_out(capsys):
    lines = listed(capsys, "byt5_base", "ul2", as_json=False, inputs_length=1_024, targets_length=189).splitlines()
    (byt5,) = (line.split() for line in lines if line.startswith("byt5_base"))
    sizes = ["581,653,248", "18", "+", "6", "1,536", "12", "x", "64", "3,968", "384"]
    # GiB: 581,653,248 times 8 and Adafactor's few, 16, 2 and 4 bytes.
    assert byt5[1:] == [*sizes, "4.34", "8.67", "1.08", "2.17", *byt5[-6:]]
    gigaflops = forward_flops(presets["byt5_base"], 1_024, 189) / 1_213 / 1e9
    assert [float(text) for text in byt5[-6:-4]] == pytest.approx([gigaflops, 3 * gigaflops], abs=0.006)
    # 18 layers keep 1,024 tokens of 1,536 numbers, and 6 keep 189.
    assert byt5[-4] == f"{(18 * 1_024 + 6 * 189) * 1_536 * 2 / 2**20:.1f}"
    assert any(line.startswith("The key/value cache") and line.endswith("not included.") for line in lines)
    assert any("with 1,024 input and 189 target tokens" in line for line in lines)
    assert not any(line.startswith("t5_") for line in lines)


def test_names_are_listed_once_in_the_order_given(capsys):
    rows = json.loads(listed(capsys, "ul2", "t5_small", "ul2"))
    assert [row["name"] for row in rows] == ["ul2", "t5_small"]


def test_an_unknown_name_is_refused_with_near_ones():
    with pytest.raises(ValueError, match=r"^NAME is 'byt5_tiny': use one of byt5_[a-z]+, byt5_"):
        models.run(["t5_small", "byt5_tiny"], as_json=True, inputs_length=1, targets_length=1)


def test_all_presets_are_listed_where_none_is_named(capsys, monkeypatch):
    few = {name: presets[name] for name in ("ul2", "t5_small")}
    monkeypatch.setattr(models, "presets", few)
    assert [row["name"] for row in json.loads(listed(capsys))] == list(few)


def test_no_device_is_touched():
    code = (
        "from jax._src import xla_bridge\n"
        "from t5x_lite.cli import main\n"
        "main(['models', '--json', 'ul2'])\n"
        "assert not xla_bridge._backends, xla_bridge._backends\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [row["name"] for row in json.loads(answer.stdout)] == ["ul2"]
