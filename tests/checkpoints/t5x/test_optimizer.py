"""Tests t5x_lite/checkpoints/t5x/optimizer.py against an Adafactor in NumPy that works on T5X's own matrices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.checkpoints.t5x.files import T5XCheckpoint
from t5x_lite.checkpoints.t5x.model import T5XModel, layer_axes
from t5x_lite.checkpoints.t5x.optimizer import opt_state_from_slots, slots_of
from t5x_lite.checkpoints.t5x.writer import plain_arrays, write_t5x
from t5x_lite.checkpoints.weights import reader
from t5x_lite.config import MeshConfig, OptimizerConfig
from t5x_lite.model.architectures import abstract
from t5x_lite.model.transformer import T5
from t5x_lite.optim import make_optimizer, state_axes
from t5x_lite.parallel.mesh import make_mesh, parameter_axes, shardings
from t5x_lite.parallel.param_paths import named_leaves
from tests import tiny
from tests.checkpoints.layouts import Array, model_of

# Large enough to be factored, and the inner size on either side of D; each stack has layers of its own number.
CFG = dataclasses.replace(
    tiny.T5_1_1, vocab_size=256, emb_dim=130, num_heads=4, head_dim=33, mlp_dim=129, num_decoder_layers=1
)
NARROW = dataclasses.replace(CFG, num_heads=4, head_dim=32)
STEP, RATE = 4, 0.01


def factored(shape):
    return len(shape) == 2 and min(shape) >= 128


def drawn_slots(targets, beta1, seed=0):
    """What T5X's Adafactor keeps of each array of the plain layout, drawn at random."""
    generator, slots = np.random.default_rng(seed), {}
    for name, array in targets.items():
        squared = generator.uniform(0.5, 2, array.shape)
        kept = dict.fromkeys(("v_row", "v_col", "v", "m"), np.zeros(1))
        if factored(array.shape):
            # The larger side, the last of equals, is averaged away in v_row. Both have the same mean, as always.
            small = 0 if array.shape[0] <= array.shape[1] else 1
            kept |= {"v_row": squared.mean(axis=1 - small), "v_col": squared.mean(axis=small)}
        else:
            kept["v"] = squared
        if beta1:
            kept["m"] = generator.normal(size=array.shape)
        slots |= {f"state/param_states/{name}/{slot}": value.astype(np.float32) for slot, value in kept.items()}
    return slots


def numpy_step(param, grad, v_row, v_col, v, m, beta1):
    """One update of a matrix or vector by T5X's Adafactor; returns the parameter and (v_row, v_col, v, m)."""
    param, grad = param.astype(np.float64), grad.astype(np.float64)
    decay = 1 - (STEP + 1.0) ** -0.8
    squared = grad**2 + 1e-30
    if factored(param.shape):
        small = 0 if param.shape[0] <= param.shape[1] else 1
        v_row = decay * v_row + (1 - decay) * squared.mean(axis=1 - small)
        v_col = decay * v_col + (1 - decay) * squared.mean(axis=small)
        row, col = v_row / v_row.mean(), v_col
        scale = np.outer(row, col) if small == 0 else np.outer(col, row)
        update = grad / np.sqrt(scale)
    else:
        v = decay * v + (1 - decay) * squared
        update = grad / np.sqrt(v)
    update /= max(1.0, np.sqrt((update**2).mean()))
    update *= RATE * max(np.sqrt((param**2).mean()), 1e-3)
    if beta1:
        m = update = beta1 * m + (1 - beta1) * update
    return param - update, (v_row, v_col, v, m)


def optimizer(cfg, beta1=None, **fields):
    options = {"learning_rate": RATE, "schedule": "constant", "warmup_steps": 0, "beta1": beta1} | fields
    return make_optimizer(OptimizerConfig(**options), 100, parameter_axes(abstract(cfg)))


def targets_of(model, cfg):
    arrays = plain_arrays(cfg, reader(model))
    return {name.removeprefix("target/"): make() for name, make in arrays.items()}


def laid_out(cfg, beta1=None):
    """The parameters, and the slots of each, in the plain layout."""
    targets = targets_of(tiny.drawn(T5, cfg), cfg)
    return targets, drawn_slots(targets, beta1)


def opened(targets, slots):
    arrays = {f"target/{name}": array for name, array in targets.items()} | slots
    return T5XModel("x", T5XCheckpoint(STEP, {name: Array(array) for name, array in arrays.items()}))


def resumed(found, shapes):
    """The optimizer state that goes on from a T5X checkpoint."""
    return opt_state_from_slots(found.all_slots(), STEP, shapes, layer_axes(found.config))


@pytest.mark.parametrize(
    ("cfg", "beta1"), [pytest.param(CFG, None, marks=pytest.mark.slow), (NARROW, 0.9)], ids=["wide", "narrow"]
)
def test_the_optimizer_goes_on_as_t5xs_would(cfg, beta1):
    targets, slots = laid_out(cfg, beta1)
    found, tx = opened(targets, slots), optimizer(cfg, beta1)
    model = model_of(found)
    state = resumed(found, jax.eval_shape(tx.init, model))
    grads = tiny.drawn(T5, cfg, seed=1)
    updates, state = jax.jit(tx.update)(grads, state, model)
    ours = targets_of(jax.tree.map(jnp.add, model, updates), cfg)
    kept = {name: make() for name, make in plain_arrays(cfg, reader(model), slots_of(state)).items()}
    for name, grad in targets_of(grads, cfg).items():
        names = [f"state/param_states/{name}/{slot}" for slot in ("v_row", "v_col", "v", "m")]
        expected, new = numpy_step(targets[name], grad, *(slots[slot] for slot in names), beta1)
        np.testing.assert_allclose(ours[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
        for slot, value in zip(names, new, strict=True):
            np.testing.assert_allclose(kept[slot], value, rtol=1e-5, atol=1e-9, err_msg=slot)


def test_the_state_is_written_as_it_was_read(tmp_path):
    targets, slots = laid_out(CFG, 0.9)
    found = opened(targets, slots)
    state = resumed(found, jax.eval_shape(optimizer(CFG, 0.9).init, model_of(found)))
    again = T5XModel(write_t5x(tmp_path, plain_arrays(CFG, found.read, slots_of(state)), STEP))
    for arrays in (plain_arrays(CFG, found.read, found.all_slots()), plain_arrays(CFG, again.read, again.all_slots())):
        assert arrays.keys() == slots.keys() | {f"target/{name}" for name in targets}
        for name, make in arrays.items():
            expected = slots[name] if name in slots else targets[name.removeprefix("target/")]
            np.testing.assert_array_equal(make(), expected, err_msg=name)


SMALL = dataclasses.replace(tiny.T5_1_1, emb_dim=10, num_heads=3, head_dim=7, mlp_dim=13)


def test_second_moments_that_the_plain_layout_keeps_in_full_are_averaged_where_stacks_are_factored():
    targets, slots = laid_out(SMALL)
    found = opened(targets, slots)
    shapes = jax.eval_shape(optimizer(SMALL).init, model_of(found))
    state = named_leaves(resumed(found, shapes))
    full = [slots[f"state/param_states/encoder/layers_{layer}/mlp/wo/kernel/v"] for layer in range(2)]
    name = "encoder/blocks/mlp/wo"
    np.testing.assert_allclose(state[f"0/v_col/{name}"], [v.mean(axis=1) for v in full], rtol=1e-6)
    np.testing.assert_allclose(state[f"0/v_row/{name}"], [v.mean(axis=0) for v in full], rtol=1e-6)
    query = [slots[f"state/param_states/encoder/layers_{layer}/attention/query/kernel/v"] for layer in range(2)]
    np.testing.assert_allclose(
        state["0/v_row/encoder/blocks/attention/query"], [v.mean(axis=1) for v in query], rtol=1e-6
    )
    heads = [v.mean(axis=0).reshape(3, 7) for v in query]
    np.testing.assert_allclose(state["0/v_col/encoder/blocks/attention/query"], heads, rtol=1e-6)


def test_factors_of_small_matrices_are_written_as_the_full_moment_that_the_plain_layout_keeps(tmp_path):
    model, tx = tiny.drawn(T5, SMALL), optimizer(SMALL)
    _, state = jax.jit(tx.update)(tiny.drawn(T5, SMALL, seed=1), tx.init(model), model)
    written = {name: make() for name, make in plain_arrays(SMALL, reader(model), slots_of(state)).items()}
    path = "state/param_states/encoder/layers_1/attention/out/kernel"
    assert [written[f"{path}/{slot}"].shape for slot in ("v_row", "v_col", "v")] == [(1,), (1,), (21, 10)]
    v_row, v_col = (named_leaves(state)[f"0/{slot}/encoder/blocks/attention/out"][1] for slot in ("v_row", "v_col"))
    np.testing.assert_allclose(written[f"{path}/v"], np.outer(np.ravel(v_col), v_row) / np.mean(v_row), rtol=1e-6)
    found = T5XModel(write_t5x(tmp_path, plain_arrays(SMALL, reader(model), slots_of(state)), STEP))
    shapes = jax.eval_shape(tx.init, model)
    again = resumed(found, shapes)
    for name, array in named_leaves(state).items():
        if "count" not in name:
            np.testing.assert_allclose(named_leaves(again)[name], array, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(("size", "expected"), [(0.0, 0.0), (1e-24, 1e-24)])
def test_a_full_moment_is_written_whatever_the_size_of_the_factors(size, expected):
    model, tx = tiny.drawn(T5, SMALL), optimizer(SMALL)
    slots = {
        name: {slot: np.full_like(array, size) for slot, array in kept.items()}
        for name, kept in slots_of(tx.init(model)).items()
    }
    made = plain_arrays(SMALL, reader(model), slots)["state/param_states/encoder/layers_1/mlp/wo/kernel/v"]()
    np.testing.assert_allclose(made, np.full(made.shape, expected), rtol=1e-5)


def test_the_slots_of_the_scalable_layout_are_the_same_state():
    targets, slots = laid_out(CFG)
    arrays = {f"target/{name}": array for name, array in targets.items()} | slots
    stacked = {name: array for name, array in arrays.items() if "layers_" not in name}
    for name in arrays:
        if "layers_0" not in name:
            continue
        stack = "encoder" if "encoder/layers_0" in name else "decoder"
        layers = [arrays[name.replace("layers_0", f"layers_{i}")] for i in range(2 if stack == "encoder" else 1)]
        scanned = name.replace("layers_0", stack)
        slot = name.rsplit("/", 1)[1]
        if slot not in ("v_row", "v_col") or layers[0].shape == (1,):
            same = layers[0].shape == (1,) and slot in ("v_row", "v_col", "v", "m")
            stacked[scanned] = layers[0] if same else np.stack(layers, axis=min(1, layers[0].ndim))
            continue
        # By axis: v_row keeps the embedding's, and the layers are the second axis of the whole.
        matrix = targets[name.removeprefix("state/param_states/").rsplit("/", 1)[0]].shape
        embed_first = matrix[0] == 130
        small_first = matrix[0] <= matrix[1]
        kept_first = (slot == "v_row") == small_first
        new_slot = "v_row" if kept_first == embed_first else "v_col"
        stacked[scanned.replace(f"/{slot}", f"/{new_slot}")] = np.stack(layers, axis=1 if kept_first else 0)
    one = opened(targets, slots)
    other = T5XModel("x", T5XCheckpoint(STEP, {name: Array(array) for name, array in stacked.items()}))
    shapes = jax.eval_shape(optimizer(CFG).init, model_of(one))
    states = [named_leaves(resumed(found, shapes)) for found in (one, other)]
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)


def test_each_device_gets_its_part_of_the_state():
    cfg = dataclasses.replace(CFG, emb_dim=132, mlp_dim=130)
    mesh, axes = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2)), parameter_axes(abstract(cfg))
    state = jax.eval_shape(optimizer(cfg).init, abstract(cfg))
    places = shardings(mesh, state, state_axes(state, abstract(cfg), axes))
    shapes = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state, places
    )
    found = named_leaves(resumed(opened(*laid_out(cfg)), shapes))
    row = found["0/v_row/encoder/blocks/attention/query"]
    assert {shard.data.shape for shard in row.addressable_shards} == {(2, 33)}
    assert int(found["0/count"]) == int(found["3/count"]) == STEP


@pytest.mark.parametrize(
    ("fields", "beta1", "message"),
    [
        ({"name": "adamw"}, None, r"but this optimizer keeps .*: set optimizer.name to adafactor"),
        ({"beta1": 0.9}, None, r"has no first moment of .*, but this optimizer keeps one: set optimizer.beta1"),
        ({}, 0.9, r"has a first moment of .*, but this optimizer has none: set optimizer.beta1"),
    ],
)
def test_another_optimizer_is_refused(fields, beta1, message):
    found = opened(*laid_out(CFG, beta1))
    with pytest.raises(ValueError, match=message):
        resumed(found, jax.eval_shape(optimizer(CFG, **fields).init, abstract(CFG)))


def test_slots_of_another_factoring_or_none_are_refused():
    name = "state/param_states/encoder/layers_0/mlp/wo/kernel"
    unfactored = {f"{name}/v": np.ones((129, 130), np.float32), f"{name}/v_row": np.zeros(1, np.float32)}
    unfactored |= {f"{name}/v_col": np.zeros(1, np.float32)}
    targets, slots = laid_out(CFG)
    without = {path: array for path, array in slots.items() if path != f"{name}/v_col"}
    longer = slots | {f"{name}/v_row": np.ones(131, np.float32)}
    shapes = jax.eval_shape(optimizer(CFG).init, abstract(CFG))
    for changed, message in (
        (slots | unfactored, r"wo/kernel/v_(row|col).*factors differently|has no v_"),
        (without, rf"has no {name}/v_col: its optimizer is not T5X's"),
        (longer, r"v_row of shape \[131\], but this optimizer keeps \[129\]: its Adafactor factors differently"),
    ):
        with pytest.raises(ValueError, match=message):
            resumed(opened(targets, changed), shapes)


KERNEL = "state/param_states/encoder/layers_0/mlp/wo/kernel"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {f"{KERNEL}/mu": np.ones(3, np.float32)},
            f"has {KERNEL}/mu, which T5X's Adafactor does not keep: leave out optimizer.from",
        ),
        (
            {f"{KERNEL}/v": np.ones((20, 18), np.float32)},
            rf"has {KERNEL}/v of shape \[20, 18\], but this optimizer keeps \[18, 20\]",
        ),
    ],
)
def test_what_adafactor_does_not_keep_is_refused_by_name(extra, message):
    targets, slots = laid_out(tiny.T5_1_1)
    found = opened(targets, slots | extra)
    with pytest.raises(ValueError, match=message):
        resumed(found, jax.eval_shape(optimizer(tiny.T5_1_1).init, abstract(tiny.T5_1_1)))
    with pytest.raises(ValueError, match=message):
        found.all_slots()
