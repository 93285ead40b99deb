"""Tests t5x_lite/training/step.py"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x_lite.config import OptimizerConfig, TrainConfig
from t5x_lite.data.converters import autoregressive_inputs, encoder_decoder
from t5x_lite.data.packing import fill_rows
from t5x_lite.optim import make_optimizer
from t5x_lite.parallel.mesh import parameter_axes
from t5x_lite.training.spikes import Spikes, W
from t5x_lite.training.step import TrainState, gradients, init_state, loss_sums, train_step
from tests import tiny

CFG = TrainConfig(num_steps=50, batch_size=12, z_loss=1e-3)


def batch():
    """Twelve rows whose targets differ in length, so that a mean of means would be another number."""
    inputs_BS, targets_BT = tiny.ids(12, tiny.S), tiny.ids(12, tiny.T, seed=1)
    for row in range(12):
        targets_BT[row, 1 + row % 6 :] = 0
    return encoder_decoder({"inputs": inputs_BS, "targets": targets_BT})


def optimizer(name="adafactor"):
    axes = parameter_axes(tiny.model(tiny.T5_1_1))
    return make_optimizer(OptimizerConfig(name=name, learning_rate=0.03, schedule="constant", warmup_steps=0), 50, axes)


def started(tx, cfg=tiny.T5_1_1):
    model = tiny.model(cfg)
    return TrainState(
        jnp.zeros((), jnp.int32), model, tx.init(model), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    )


@functools.cache
def compiled(name="adafactor", cfg=CFG):
    tx = optimizer(name)
    return tx, jax.jit(functools.partial(train_step, tx=tx, cfg=cfg, seed=0))


@functools.cache
def compiled_gradients(num_microbatches):
    cfg = dataclasses.replace(CFG, num_microbatches=num_microbatches)
    return jax.jit(lambda model, batch: gradients(model, batch, cfg, None))


def test_the_loss_is_the_mean_over_all_target_tokens():
    _, step = compiled()
    _, metrics = step(started(optimizer()), batch())
    inputs_BS, targets_BT = batch()["encoder_input_tokens"], batch()["decoder_target_tokens"]
    logits_BTV = tiny.logits(tiny.model(tiny.T5_1_1), inputs_BS, autoregressive_inputs(targets_BT)).astype(np.float64)
    nats_BT = np.log(np.exp(logits_BTV).sum(-1)) - np.take_along_axis(logits_BTV, targets_BT[..., None], -1)[..., 0]
    is_target_BT = targets_BT > 0
    np.testing.assert_allclose(metrics["loss"], nats_BT[is_target_BT].mean(), rtol=1e-5)
    assert metrics["target_tokens"] == is_target_BT.sum()


def test_the_gradients_are_of_the_mean_loss_per_target_token():
    model = tiny.model(tiny.T5_1_1)
    grads, _ = compiled_gradients(1)(model, batch())
    norm = float(optax.tree.norm(grads))

    def mean_loss(distance):
        moved = jax.tree.map(lambda param, grad: param + distance / norm * grad, model, grads)
        _, sums = compiled_gradients(1)(moved, batch())
        return float(sums.loss / sums.weight)

    np.testing.assert_allclose((mean_loss(0.01) - mean_loss(-0.01)) / 0.02, norm, rtol=2e-3)


@pytest.mark.parametrize("num_microbatches", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_microbatches_give_the_gradients_of_the_whole_batch(num_microbatches):
    model = tiny.model(tiny.T5_1_1)
    whole_grads, whole_sums = compiled_gradients(1)(model, batch())
    grads, sums = compiled_gradients(num_microbatches)(model, batch())
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), sums, whole_sums)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(whole_grads), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * float(jnp.abs(other).max()))


@pytest.mark.parametrize(
    "name", ["adafactor", *(pytest.param(n, marks=pytest.mark.slow) for n in ("adamw_rms", "adamw"))]
)
def test_thirty_steps_on_one_batch_learn_it(name):
    tx, step = compiled(name)
    state, losses = started(tx), []
    for _ in range(30):
        state, metrics = step(state, batch())
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    assert step._cache_size() == 1  # compiled once


def test_a_nonfinite_gradient_is_skipped_and_counted():
    tx, step = compiled()
    model = tiny.model(tiny.T5_1_1)
    poisoned = jax.tree.map(lambda leaf: leaf, model)
    poisoned.logits_kernel[...] = poisoned.logits_kernel[...].at[3, 5].set(jnp.inf)
    state = started(tx)._replace(model=poisoned)
    for skipped in (1, 2):
        before = state
        state, metrics = step(state, batch())
        assert (metrics["nonfinite_steps"], metrics["nonfinite_in_a_row"]) == (skipped, skipped)
        jax.tree.map(np.testing.assert_array_equal, (state.model, state.opt_state), (before.model, before.opt_state))
        assert state.step == skipped
    state, metrics = step(state._replace(model=model), batch())
    assert (metrics["nonfinite_steps"], metrics["nonfinite_in_a_row"]) == (2, 0)


@pytest.mark.slow
def test_a_spike_is_skipped_and_counted():
    cfg = dataclasses.replace(CFG, skip_spikes_above=2.0)
    tx, step = compiled(cfg=cfg)
    small = Spikes(jnp.full(W, 1e-3), jnp.asarray(W), jnp.asarray(4))
    before = started(tx)._replace(spikes=small)
    state, metrics = step(before, batch())
    assert (metrics["spike_steps"], metrics["nonfinite_steps"], state.step) == (5, 0, 1)
    jax.tree.map(np.testing.assert_array_equal, (state.model, state.opt_state), (before.model, before.opt_state))
    state, metrics = step(before._replace(spikes=small._replace(norms_W=jnp.full(W, 1e3))), batch())
    assert metrics["spike_steps"] == 4
    assert not np.array_equal(state.model.logits_kernel[...], before.model.logits_kernel[...])


@pytest.mark.slow
def test_dropout_differs_between_steps_but_not_between_runs():
    cfg = dataclasses.replace(tiny.T5_1_1, dropout_rate=0.2)
    tx = optax.set_to_zero()
    step = jax.jit(functools.partial(train_step, tx=tx, cfg=CFG, seed=3))
    first, one = step(started(tx, cfg), batch())
    _, two = step(first, batch())
    _, again = step(started(tx, cfg), batch())
    assert one["loss"] != two["loss"]
    assert one["loss"] == again["loss"]


@pytest.mark.slow
def test_the_first_state_depends_on_the_seed():
    tx = optax.set_to_zero()
    one, other = (jax.jit(lambda seed=seed: init_state(tiny.T5_1_1, tx, seed))() for seed in (0, 1))
    assert not np.allclose(one.model.embedding[...], other.model.embedding[...])
    assert one.step == 0


def test_a_packed_rows_loss_is_the_sum_of_its_examples_losses():
    rng = np.random.default_rng(3)
    sizes = [(4, 3), (5, 1), (2, 3), (11, 7), (1, 2)]
    pairs = [{"inputs": rng.integers(2, 128, s), "targets": rng.integers(2, 128, t)} for s, t in sizes]
    lengths = {"inputs": tiny.S, "targets": tiny.T}
    rows = fill_rows([[pair] for pair in pairs], lengths)
    apart = encoder_decoder({name: rows[name] for name in lengths})
    together = encoder_decoder(fill_rows([pairs[:3], [pairs[3]], [pairs[4]]], lengths))
    model = tiny.model(tiny.T5_1_1)
    loss = jax.jit(lambda model, batch: loss_sums(model, batch, CFG, None))
    packed, unpacked = (jax.device_get(loss(model, batch)) for batch in (together, apart))
    for name, value in unpacked._asdict().items():
        np.testing.assert_allclose(getattr(packed, name), value, rtol=1e-5, err_msg=name)
    assert unpacked.weight == 16
