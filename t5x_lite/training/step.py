# SPDX-License-Identifier: Apache-2.0
"""The training step, a pure function of the state and a batch.

Shape letters: B batch, T target tokens, D model, V vocabulary, M microbatches.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from t5x_lite.config import ModelConfig, TrainConfig
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture, Model, make_model
from t5x_lite.model.kernels.cross_entropy import LossSums, cross_entropy


class TrainState(NamedTuple):
    """The state that a step updates and a checkpoint stores."""

    step: jax.Array  # batches seen
    model: Model
    opt_state: optax.OptState
    nonfinite_steps: jax.Array  # skipped updates
    nonfinite_in_a_row: jax.Array  # consecutive skipped updates up to now
    spikes: Any = None  # the state of the spike guard, `spikes.Spikes`, if it is on


def init_state(
    cfg: ModelConfig,
    tx: optax.GradientTransformation,
    seed: int,
    architecture: Architecture = ENCODER_DECODER,
    spikes: Any = None,
) -> TrainState:
    """Returns a random initial state."""
    return state_of(make_model(cfg, architecture, rngs=nnx.Rngs(seed)), tx, spikes)


def state_of(model: Model, tx: optax.GradientTransformation, spikes: Any = None) -> TrainState:
    """Returns the initial state for a model's parameters."""
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, model, tx.init(cast(Any, model)), zero, zero, spikes)


def loss_sums(
    model: Model, batch: Mapping[str, jax.Array], cfg: TrainConfig, dropout_key: jax.Array | None
) -> LossSums:
    """Returns the loss summed over the targets of a batch."""
    hidden_BTD, kernel_DV, targets_BT, weights_BT = model.predict(batch, dropout_key)
    return cross_entropy(
        hidden_BTD,
        kernel_DV,
        targets_BT,
        weights_BT.astype(jnp.float32),
        z_loss=cfg.z_loss,
        label_smoothing=cfg.label_smoothing,
    )


def gradients(model: Model, batch: Mapping[str, jax.Array], cfg: TrainConfig, dropout_key: jax.Array | None):
    """Returns (gradients of the mean loss per target token, the loss sums), over all microbatches.

    Microbatches differ in their number of tokens, so their sums are accumulated and divided once.
    """
    M = cfg.num_microbatches

    def microbatch_gradients(microbatch, key):
        def loss(model):
            sums = loss_sums(model, microbatch, cfg, key)
            return sums.loss, sums

        (_, sums), grads = jax.value_and_grad(loss, has_aux=True)(model)
        return grads, sums

    if M == 1:
        grads, sums = microbatch_gradients(batch, dropout_key)
    else:
        from t5x_lite.training.microbatches import accumulated

        grads, sums = accumulated(microbatch_gradients, batch, M, dropout_key)
    tokens = jnp.maximum(sums.weight, 1.0)
    return jax.tree.map(lambda grad: grad / tokens, grads), sums


def train_step(state: TrainState, batch: Mapping[str, jax.Array], *, tx, cfg: TrainConfig, seed: int):
    """Makes one update, or skips and counts it if the gradient or the loss is not finite, or the gradient a spike.

    Returns (the next state, scalar metrics).
    """
    rate = state.model.cfg.dropout_rate
    dropout_key = jax.random.fold_in(jax.random.key(seed), state.step) if rate > 0 else None
    grads, sums = gradients(state.model, batch, cfg, dropout_key)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(grad_norm) & jnp.isfinite(sums.loss)
    is_applied, spikes = finite, state.spikes
    if cfg.skip_spikes_above is not None:
        from t5x_lite.training.spikes import watch

        is_spike, spikes = watch(spikes, grad_norm, finite, cfg.skip_spikes_above)
        is_applied = finite & ~is_spike

    updates, opt_state = tx.update(grads, state.opt_state, state.model)
    updated = (optax.apply_updates(cast(Any, state.model), updates), opt_state)
    model, opt_state = jax.tree.map(
        lambda new, old: jnp.where(is_applied, new, old), updated, (state.model, state.opt_state)
    )
    skipped = jnp.where(finite, 0, 1)
    in_a_row = jnp.where(finite, 0, state.nonfinite_in_a_row + 1)
    tokens = jnp.maximum(sums.weight, 1.0)
    metrics = {
        "loss": sums.cross_entropy / tokens,
        "z_loss": sums.z_loss / tokens,
        "accuracy": sums.num_correct / tokens,
        "grad_norm": grad_norm,
        "target_tokens": sums.weight,
        "nonfinite_steps": state.nonfinite_steps + skipped,
        "nonfinite_in_a_row": in_a_row,
    } | ({} if spikes is None else {"spike_steps": spikes.num_skipped})
    return TrainState(state.step + 1, model, opt_state, state.nonfinite_steps + skipped, in_a_row, spikes), metrics
