# SPDX-License-Identifier: Apache-2.0
"""Attention in a loop, for a single CPU.

`is_single_cpu`, and `decode_layout` in `unstacked`, make all choices by platform; other code is the same everywhere.

Shape letters: B batch, T queries, S keys, N heads, H head; 1 if broadcast.
"""

import jax
import jax.numpy as jnp

from t5x_lite.model.kernels.choice import platform


def is_single_cpu() -> bool:
    """Returns whether the traced program runs on one CPU device; on several, loops would gather the batch."""
    return platform() == "cpu" and jax.sharding.get_abstract_mesh().size <= 1


@jax.custom_vjp
def looped_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS) -> jax.Array:
    """Returns softmax(q k + bias + mask) v, computed one example and one head at a time.

    On a CPU, XLA's batched matrix products are three times slower than its plain ones, and a whole batch's weights do
    not fit the caches: for 8 x 6 heads of 512 x 512, the loop takes 60% of the reference's time. The backward pass
    recomputes the weights from the stored softmax normalisers. `mask_B1TS` is an additive float32 mask, without
    gradient or broadcasting over B; it and the bias may be None.
    """
    return _forward(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS)[0]


def _swap(x_BTNH) -> jax.Array:
    """Transposes [B, T, N, H] to [B, N, T, H] or back."""
    return jnp.swapaxes(x_BTNH, 1, 2)


def _logits(q_TH, k_SH, bias_1NTS, mask_1TS, head) -> jax.Array:
    logits_TS = jnp.einsum("TH,SH->TS", q_TH, k_SH, preferred_element_type=jnp.float32)
    if bias_1NTS is not None:
        logits_TS = logits_TS + bias_1NTS[0, head]
    if mask_1TS is not None:
        logits_TS = logits_TS + mask_1TS[0]
    return logits_TS


def _forward(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS):
    def example(arrays):
        q_NTH, k_NSH, v_NSH, mask_1TS = arrays
        outputs, normalizers = [], ([], [])
        for head in range(q_NTH.shape[0]):
            logits_TS = _logits(q_NTH[head], k_NSH[head], bias_1NTS, mask_1TS, head)
            highest_T1 = jnp.max(logits_TS, axis=-1, keepdims=True)
            exp_TS = jnp.exp(logits_TS - highest_T1)
            sum_T1 = jnp.sum(exp_TS, axis=-1, keepdims=True)
            # Normalised after the product: T * H divisions instead of T * S.
            sums_TH = jnp.einsum("TS,SH->TH", exp_TS.astype(v_NSH.dtype), v_NSH[head])
            outputs.append((sums_TH / sum_T1).astype(v_NSH.dtype))
            normalizers[0].append(highest_T1)
            normalizers[1].append(1 / sum_T1)
        return jnp.stack(outputs), tuple(map(jnp.stack, normalizers))

    arrays = (_swap(q_BTNH), _swap(k_BSNH), _swap(v_BSNH), mask_B1TS)
    o_BNTH, normalizers_BNT1 = jax.lax.map(example, arrays)
    return _swap(o_BNTH), (q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, o_BNTH, normalizers_BNT1)


def _backward(residuals, do_BTNH):
    q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, o_BNTH, normalizers_BNT1 = residuals
    num_heads = q_BTNH.shape[2]

    def example(dbias, arrays):
        q_NTH, k_NSH, v_NSH, mask_1TS, o_NTH, (highest_NT1, inverse_NT1), do_NTH = arrays
        gradients = []
        for head in range(num_heads):
            q_TH, k_SH, do_TH = q_NTH[head], k_NSH[head], do_NTH[head]
            # Not exp(logits - log_z): at a fully masked query's log_z of -1e10, the log of the sum is rounded away.
            exp_TS = jnp.exp(_logits(q_TH, k_SH, bias_1NTS, mask_1TS, head) - highest_NT1[head])
            weights_TS = exp_TS * inverse_NT1[head]
            dweights_TS = jnp.einsum("TH,SH->TS", do_TH, v_NSH[head], preferred_element_type=jnp.float32)
            shared_T1 = jnp.sum((do_TH * o_NTH[head]).astype(jnp.float32), axis=-1, keepdims=True)
            dlogits_TS = weights_TS * (dweights_TS - shared_T1)
            if dbias is not None:
                dbias = (*dbias[:head], dbias[head] + dlogits_TS, *dbias[head + 1 :])
            dlogits_TS, weights_TS = dlogits_TS.astype(q_TH.dtype), weights_TS.astype(q_TH.dtype)
            gradients.append(
                (
                    jnp.einsum("TS,SH->TH", dlogits_TS, k_SH),
                    jnp.einsum("TS,TH->SH", dlogits_TS, q_TH),
                    jnp.einsum("TS,TH->SH", weights_TS, do_TH),
                )
            )
        return dbias, tuple(jnp.stack(heads) for heads in zip(*gradients, strict=True))

    arrays = (*map(_swap, (q_BTNH, k_BSNH, v_BSNH)), mask_B1TS, o_BNTH, normalizers_BNT1, _swap(do_BTNH))
    zeros = None if bias_1NTS is None else (jnp.zeros_like(bias_1NTS[0, 0]),) * num_heads
    dbias, gradients = jax.lax.scan(example, zeros, arrays)
    dbias_1NTS = None if dbias is None else jnp.stack(dbias)[None]
    return (*map(_swap, gradients), dbias_1NTS, None)


looped_attention.defvjp(_forward, _backward)
