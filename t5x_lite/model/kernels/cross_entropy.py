# SPDX-License-Identifier: Apache-2.0
"""Cross entropy fused with the vocabulary projection, so that the full logits are never materialised.

Sequences are split into chunks of time steps, and only one chunk's logits exist at a time. The forward pass also
computes each chunk's gradients, which the backward pass only scales by the cotangent of the loss, a scalar.

Shape letters: B batch, T targets, C time steps in a chunk, D model, V vocabulary.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.parallel.rules import constrain, gather_fsdp

# Float32 logits per device and chunk: 128 MiB, or 1,044 tokens of T5's vocabulary. Every chunk reads and writes all of
# dkernel_DV: on 2 CPU cores, 912 tokens of T5 small took 1.1 times as long in six chunks as in one.
CHUNK_LOGITS = 2**25


class LossSums(NamedTuple):
    """Weighted sums over tokens; sum over microbatches before dividing by `weight`. Only `loss` has a gradient."""

    loss: jax.Array  # cross entropy of the smoothed targets, plus the z-loss
    cross_entropy: jax.Array  # of the unsmoothed targets, in nats: perplexity is exp(cross_entropy / weight)
    z_loss: jax.Array  # included in `loss`
    weight: jax.Array
    num_correct: jax.Array  # tokens whose target is the argmax of the logits; of equal logits, the lowest id


class _Logits(NamedTuple):
    """Statistics of each token's logits, [B, T] or, within a chunk, [B, C]."""

    log_z: jax.Array
    target: jax.Array
    is_correct: jax.Array  # whether the target is the argmax: of equal logits, the lowest id
    total: jax.Array


def cross_entropy(
    hidden_BTD: jax.Array,
    kernel_DV: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
) -> LossSums:
    """Returns T5's loss for logits `hidden_BTD @ kernel_DV`, differentiable with respect to these two.

    Args:
      hidden_BTD: hidden states, float32 or bfloat16; products use this dtype and accumulate in float32.
      kernel_DV: the vocabulary projection, `T5.output_kernel()`; cast to the dtype of hidden_BTD.
      targets_BT: token ids in [0, V).
      weights_BT: 1 where a token counts, 0 on padding; not differentiable.
      z_loss: coefficient of (log Z)^2 per token.
      label_smoothing: probability mass spread evenly over all tokens but the target.

    Source: T5X `losses.py`, including the constant that makes the minimum of the smoothed loss 0.
    """
    return _loss_sums(hidden_BTD, kernel_DV, targets_BT, weights_BT, z_loss, label_smoothing)


class TokenScores(NamedTuple):
    """Scores of the targets."""

    nats_BT: jax.Array  # -log p, float32
    is_correct_BT: jax.Array  # whether the target is the argmax of the logits; of equal logits, the lowest id


def token_scores(hidden_BTD: jax.Array, kernel_DV: jax.Array, targets_BT: jax.Array) -> TokenScores:
    """Scores each target, for evaluation; arguments as in `cross_entropy`."""
    logits = _all_logits(hidden_BTD, kernel_DV, targets_BT)
    return TokenScores(logits.log_z - logits.target, logits.is_correct)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _loss_sums(hidden_BTD, kernel_DV, targets_BT, weights_BT, z_loss, label_smoothing):
    logits = _all_logits(hidden_BTD, kernel_DV, targets_BT)
    return _sums(logits, weights_BT, kernel_DV.shape[1], z_loss, label_smoothing)


def _loss_sums_forward(hidden_BTD, kernel_DV, targets_BT, weights_BT, z_loss, label_smoothing):
    V = kernel_DV.shape[1]
    on, off = _smoothed(label_smoothing, V)
    kernel = gather_fsdp(kernel_DV.astype(hidden_BTD.dtype), "embed", "vocab")
    hidden_BTD = constrain(hidden_BTD, "batch", None, None)

    def step(dkernel_DV, chunk):
        hidden_BCD, targets_BC, weights_BC = chunk
        logits_BCV = _project(hidden_BCD, kernel)
        stats = _reduce(logits_BCV, targets_BC)
        softmax_BCV = jnp.exp(logits_BCV - stats.log_z[..., None])
        ids_BCV = jax.lax.broadcasted_iota(targets_BC.dtype, logits_BCV.shape, 2)
        wanted_BCV = jnp.where(ids_BCV == targets_BC[..., None], on, off)
        with_z_loss_BC1 = (1 + 2 * z_loss * stats.log_z)[..., None]
        dlogits_BCV = weights_BC[..., None] * (with_z_loss_BC1 * softmax_BCV - wanted_BCV)
        dlogits_BCV = dlogits_BCV.astype(hidden_BCD.dtype)
        dhidden_BCD = jnp.einsum("BCV,DV->BCD", dlogits_BCV, kernel, preferred_element_type=jnp.float32)
        added_DV = jnp.einsum("BCD,BCV->DV", hidden_BCD, dlogits_BCV, preferred_element_type=jnp.float32)
        dkernel_DV += constrain(added_DV, "embed", "vocab")
        return dkernel_DV, (stats, dhidden_BCD.astype(hidden_BCD.dtype))

    chunks = _split((hidden_BTD, targets_BT, weights_BT.astype(jnp.float32)), _chunk_length(targets_BT, V))
    dkernel_DV, results = jax.lax.scan(step, jnp.zeros(kernel_DV.shape, jnp.float32), chunks)
    logits, dhidden_BTD = _join(results, targets_BT.shape[1])
    sums = _sums(logits, weights_BT, V, z_loss, label_smoothing)
    return sums, (dhidden_BTD, dkernel_DV.astype(kernel_DV.dtype))


def _loss_sums_backward(z_loss, label_smoothing, gradients, cotangents):
    del z_loss, label_smoothing  # included in the gradients
    dhidden_BTD, dkernel_DV = ((gradient * cotangents.loss).astype(gradient.dtype) for gradient in gradients)
    return dhidden_BTD, dkernel_DV, None, None


_loss_sums.defvjp(_loss_sums_forward, _loss_sums_backward)


def _all_logits(hidden_BTD, kernel_DV, targets_BT) -> _Logits:
    kernel = gather_fsdp(kernel_DV.astype(hidden_BTD.dtype), "embed", "vocab")
    hidden_BTD = constrain(hidden_BTD, "batch", None, None)
    chunks = _split((hidden_BTD, targets_BT), _chunk_length(targets_BT, kernel_DV.shape[1]))
    results = jax.lax.map(lambda chunk: _reduce(_project(chunk[0], kernel), chunk[1]), chunks)
    return _join(results, targets_BT.shape[1])


def _project(hidden_BCD, kernel_DV) -> jax.Array:
    logits_BCV = jnp.einsum("BCD,DV->BCV", hidden_BCD, kernel_DV, preferred_element_type=jnp.float32)
    return constrain(logits_BCV, "batch", None, "vocab")


def _reduce(logits_BCV, targets_BC) -> _Logits:
    highest_BC = jnp.max(logits_BCV, axis=-1)
    log_z_BC = highest_BC + jnp.log(jnp.sum(jnp.exp(logits_BCV - highest_BC[..., None]), axis=-1))
    target_BC = jnp.take_along_axis(logits_BCV, targets_BC[..., None], axis=-1)[..., 0]
    # `jnp.argmax`, in a reduction that XLA fuses. Without a rule for ties, a collapsed model would always be right.
    ids_BCV = jax.lax.broadcasted_iota(targets_BC.dtype, logits_BCV.shape, 2)
    is_highest_BCV = logits_BCV == highest_BC[..., None]
    argmax_BC = jnp.min(jnp.where(is_highest_BCV, ids_BCV, logits_BCV.shape[2]), axis=-1)
    return _Logits(log_z_BC, target_BC, argmax_BC == targets_BC, jnp.sum(logits_BCV, axis=-1))


def _smoothed(label_smoothing, V) -> tuple[float, float]:
    """Returns the smoothed probabilities of the target and of each other token."""
    return 1.0 - label_smoothing, label_smoothing / (V - 1)


def _sums(logits: _Logits, weights_BT, V, z_loss, label_smoothing) -> LossSums:
    on, off = _smoothed(label_smoothing, V)
    # The entropy of the smoothed targets, a lower bound on their cross entropy.
    lowest = -(on * math.log(on) + (V - 1) * off * math.log(off + 1e-20))
    smoothed_BT = logits.log_z - (on - off) * logits.target - off * logits.total - lowest
    z_loss_BT = z_loss * logits.log_z**2
    per_token = LossSums(
        loss=smoothed_BT + z_loss_BT,
        cross_entropy=logits.log_z - logits.target,
        z_loss=z_loss_BT,
        weight=jnp.ones_like(z_loss_BT),
        num_correct=logits.is_correct.astype(jnp.float32),
    )
    return jax.tree.map(lambda values_BT: jnp.sum(values_BT * weights_BT, dtype=jnp.float32), per_token)


def chunk_length(shape_BT: tuple[int, int], V: int, num_devices: int) -> int:
    """Returns C, the number of time steps per chunk, if `num_devices` shard the batch and the vocabulary.

    Time steps are not sharded, so every device holds rows of every chunk.
    """
    B, T = shape_BT
    return math.ceil(T / math.ceil(B * T * V / (CHUNK_LOGITS * num_devices)))


def _chunk_length(targets_BT, V) -> int:
    return chunk_length(targets_BT.shape, V, max(1, jax.sharding.get_abstract_mesh().size))


def _split(arrays, C):
    """Reshapes [B, T, ...] to [num_chunks, B, C, ...], padded with zeros."""

    def split(array_BT):
        B, T, *rest = array_BT.shape
        num_chunks = math.ceil(T / C)
        padding = [(0, 0), (0, num_chunks * C - T)] + [(0, 0)] * len(rest)
        return jnp.moveaxis(jnp.pad(array_BT, padding).reshape(B, num_chunks, C, *rest), 1, 0)

    return jax.tree.map(split, arrays)


def _join(chunks, T):
    """Inverts `_split`."""

    def join(chunks_BC):
        num_chunks, B, C, *rest = chunks_BC.shape
        return jnp.moveaxis(chunks_BC, 0, 1).reshape(B, num_chunks * C, *rest)[:, :T]

    return jax.tree.map(join, chunks)
