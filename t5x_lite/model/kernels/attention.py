# SPDX-License-Identifier: Apache-2.0
"""Attention with T5's additive bias: a reference, a version for CPUs, and one function that picks.

Shape letters: B batch, T queries, S keys, K queries of a decoding step, C cached places, N heads, H head; 1 where all
share.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# T5X's value. Finite, so that a query that may see nothing averages all keys instead of becoming NaN.
MASKED_LOGIT = -1e10


def dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, drop=None) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, N, H]; logits and softmax are in float32.

    Args:
      q_BTNH: queries.
      k_BSNH: keys.
      v_BSNH: values.
      bias_1NTS: added to the logits; None adds nothing.
      mask_B1TS: False where a query may not see a key; 1 for B or T where all share. None shows everything.
      drop: applied to the weights; None keeps them.
    """
    if drop is not None or not _is_one_cpu():
        return reference_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, drop)
    return looped_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, _additive(mask_B1TS, q_BTNH.shape[0]))


def reference_attention(
    q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, drop: Callable[[jax.Array], jax.Array] | None = None
) -> jax.Array:
    """The definition, in whole-batch products; arguments as in `dot_product_attention`."""
    weights_BNTS = attention_weights(q_BTNH, k_BSNH, bias_1NTS, mask_B1TS).astype(v_BSNH.dtype)
    if drop is not None:
        weights_BNTS = drop(weights_BNTS)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS, v_BSNH)


def attention_weights(q_BTNH, k_BSNH, bias_1NTS=None, mask_B1TS=None) -> jax.Array:
    """Returns how much each query takes of each key's value, float32 [B, N, T, S]; sums to 1 over S.

    Arguments as in `dot_product_attention`.
    """
    logits_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    if bias_1NTS is not None:
        logits_BNTS = logits_BNTS + bias_1NTS
    if mask_B1TS is not None:
        logits_BNTS = logits_BNTS + jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    return jax.nn.softmax(logits_BNTS)


def cached_attention(q_BKNH, keys_BNHC, values_BNHC, bias_1N1C=None, mask_B1KC=None) -> jax.Array:
    """The definition for a few queries and the layout of a cache, whose places come last.

    Products with keys and values laid out as [B, S, N, H] copy them first on a CPU: 38 ms for 50 MB that this way take
    6.

    Args:
      q_BKNH: queries.
      keys_BNHC: keys, by place.
      values_BNHC: values, by place.
      bias_1N1C: added to the logits; None adds nothing.
      mask_B1KC: False where a query may not see a place; None shows everything.
    """
    logits_BNKC = jnp.einsum("BKNH,BNHC->BNKC", q_BKNH, keys_BNHC, preferred_element_type=jnp.float32)
    if bias_1N1C is not None:
        logits_BNKC = logits_BNKC + bias_1N1C
    if mask_B1KC is not None:
        logits_BNKC = logits_BNKC + jnp.where(mask_B1KC, 0.0, MASKED_LOGIT)
    weights_BNKC = jax.nn.softmax(logits_BNKC).astype(values_BNHC.dtype)
    return jnp.einsum("BNKC,BNHC->BKNH", weights_BNKC, values_BNHC)


@jax.custom_vjp
def looped_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS) -> jax.Array:
    """The same, one example and one head at a time, for one CPU.

    XLA's batched products reach a third of the speed of its plain ones on a CPU, and a whole batch of weights leaves
    the caches: for 8 x 6 heads of 512 x 512 this takes 0.6 of the reference's time. The backward pass computes the
    weights again from their normalisers instead of keeping them.

    Args:
      q_BTNH: queries.
      k_BSNH: keys.
      v_BSNH: values.
      bias_1NTS: added to the logits, or None.
      mask_B1TS: added to the logits, float32 with B not shared, or None.
    """
    return _forward(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS)[0]


def _is_one_cpu() -> bool:
    # A loop over the batch would gather a batch that is cut over a mesh.
    return jax.default_backend() == "cpu" and jax.sharding.get_abstract_mesh().size <= 1


def _additive(mask_B1TS, batch_size) -> jax.Array | None:
    if mask_B1TS is None:
        return None
    added = jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    return jnp.broadcast_to(added, (batch_size, *added.shape[1:]))


def _swap(x_BTNH) -> jax.Array:
    """[B, T, N, H] to [B, N, T, H], and back."""
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
            # Divided after the product: T * H divisions instead of T * S.
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
            # Not exp(logits - log of the sum): beside a masked query's logits of -1e10 that logarithm is rounded away.
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
