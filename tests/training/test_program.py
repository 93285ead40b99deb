"""Tests t5x_lite/training/program.py: the same losses on every mesh, and checkpoints that go from any to any."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints import restoring
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.config import MeshConfig, OptimizerConfig, TrainConfig
from t5x_lite.data.shapes import feature_shapes
from t5x_lite.parallel.mesh import batch_sharding, make_mesh
from t5x_lite.parallel.param_paths import named_leaves
from t5x_lite.training.init import from_items, to_items
from t5x_lite.training.program import make_program
from t5x_lite.training.resolve import resolve_run
from tests import runs

VOCAB_ROWS, NUM_STEPS, SAVED_AT, GO_ON = 384, 20, 10, 4
MESHES = {
    "data 8": MeshConfig(),
    "fsdp 8": MeshConfig(data=1, fsdp=8),
    "tensor 8": MeshConfig(data=1, tensor=8),
    "2 x 2 x 2": MeshConfig(data=2, fsdp=2, tensor=2),
    "two slices": MeshConfig(data=2, fsdp=4, slices=2),
    "context 2": MeshConfig(data=2, fsdp=2, context=2),
}


def config(name, **model):
    cfg = runs.config("unused", mesh=MESHES[name], num_steps=NUM_STEPS, inputs_length=32)
    sizes = {"num_heads": 8, "num_decoder_layers": 2} | model
    return dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, **sizes))


def made(cfg, vocab_size=VOCAB_ROWS):
    return make_program(resolve_run(cfg), make_mesh(cfg.mesh), vocab_size)


@pytest.mark.parametrize(
    ("fields", "revision", "is_factored"),
    [({}, None, True), ({}, 1, False), ({"factored": "stacked"}, 1, True), ({"factored": "large"}, 2, False)],
)
def test_small_stacked_matrices_are_factored_unless_the_run_is_older_or_says_otherwise(
    tmp_path, fields, revision, is_factored
):
    cfg = runs.config(tmp_path / "run")
    optimizer = dataclasses.replace(cfg.optimizer, **fields)
    shapes = made(dataclasses.replace(cfg, optimizer=optimizer, revision=revision)).shapes
    state = {name: leaf.shape for name, leaf in named_leaves(shapes.opt_state).items()}
    assert (state["0/v/encoder/blocks/mlp/wo"] == (1,)) == is_factored


@functools.cache
def program(name):
    return made(config(name))


def batch(name, step):
    """The same for all meshes; made of random ids, with padding at the end of some rows."""
    cfg, generator = config(name), np.random.default_rng(step)
    rows = {}
    for feature, shape in feature_shapes(resolve_run(cfg).examples).items():
        values = generator.integers(2, VOCAB_ROWS, (cfg.train.batch_size, *shape))
        values[::3, -5:] = 0
        rows[feature] = (values > 0).astype(np.int32) if feature.endswith("weights") else values.astype(np.int32)
    return jax.device_put(rows, batch_sharding(program(name).mesh))


def advance(name, state, first, num_steps):
    """The state after some steps, and their losses."""
    losses = []
    with jax.set_mesh(program(name).mesh):
        for step in range(first, first + num_steps):
            state, metrics = program(name).step(state, batch(name, step))
            losses.append(float(metrics["loss"]))
    return state, losses


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("meshes")


@functools.cache
def trained(name, directory):
    """The losses of all steps; the state after SAVED_AT of them is in a checkpoint."""
    with jax.set_mesh(program(name).mesh):
        state = program(name).init()
    state, before = advance(name, state, 0, SAVED_AT)
    checkpoints = Checkpoints(directory / name, keep=1)
    checkpoints.save(SAVED_AT, to_items(state), {})
    checkpoints.close()
    return before + advance(name, state, SAVED_AT, NUM_STEPS - SAVED_AT)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_does_not_change_the_loss_and_its_checkpoints_resume_on_any_other(name, directory):
    losses = trained(name, directory)
    np.testing.assert_allclose(losses, trained("data 8", directory), rtol=1e-5)
    for other in MESHES:
        checkpoints = Checkpoints(directory / name)
        state = from_items(restoring.restore(checkpoints, SAVED_AT, to_items(program(other).shapes)))
        checkpoints.close()
        _, resumed = advance(other, state, SAVED_AT, GO_ON)
        np.testing.assert_allclose(resumed, losses[SAVED_AT : SAVED_AT + GO_ON], rtol=1e-5, err_msg=other)


@pytest.mark.parametrize(("name", "parts"), [("fsdp 8", 8), ("context 2", 4), ("two slices", 4)])
def test_the_state_is_sharded(name, parts):
    leaves = named_leaves((program(name).shapes.model, program(name).shapes.opt_state))
    large = {path: leaf for path, leaf in leaves.items() if leaf.size > 1000}
    assert large
    for path, leaf in large.items():
        assert np.prod(leaf.sharding.shard_shape(leaf.shape)) == leaf.size / parts, path


def test_a_mesh_that_does_not_divide_the_heads_is_refused():
    with pytest.raises(ValueError, match=r"mesh.tensor 8 does not divide the model's heads dimension of 6: change one"):
        made(config("tensor 8", num_heads=6))


def test_a_vocabulary_that_the_mesh_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"mesh.tensor 8 does not divide the model's vocab dimension of 385"):
        made(config("tensor 8"), 385)


def test_the_first_moment_may_be_bfloat16():
    optimizer = OptimizerConfig(beta1=0.9, momentum_dtype="bfloat16", schedule="constant", warmup_steps=0)
    cfg = dataclasses.replace(config("data 8"), optimizer=optimizer)
    leaves = named_leaves(made(cfg).shapes.opt_state)
    assert {str(leaf.dtype) for path, leaf in leaves.items() if "/ema/" in path} == {"bfloat16"}
    assert {str(leaf.dtype) for path, leaf in leaves.items() if "/v/" in path} == {"float32"}


def test_microbatches_that_the_mesh_does_not_divide_are_refused():
    cfg = dataclasses.replace(config("data 8"), train=TrainConfig(batch_size=8, num_microbatches=2, inputs_length=32))
    with pytest.raises(ValueError, match=r"train.batch_size is 8, which is not divisible by .* = 8 \* 1 \* 2 = 16"):
        made(cfg)
