# SPDX-License-Identifier: Apache-2.0
"""Multi-head attention as T5 has it: no biases on the projections, no 1/sqrt(H) on the logits.

Shape letters: B batch, T queries, S keys, D model, N heads, H head; 1 where all share.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5x_lite.config import ModelConfig
from t5x_lite.model.layers import dropout, weight

# T5X's value. Finite, so that a query that may see nothing averages all keys instead of becoming NaN.
MASKED_LOGIT = -1e10


def dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, weights_dropout=None) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, N, H]; logits and softmax are in float32.

    Args:
      q_BTNH: queries.
      k_BSNH: keys.
      v_BSNH: values.
      bias_1NTS: added to the logits; None adds nothing.
      mask_B1TS: False where a query may not see a key; 1 for B or T where all share. None shows everything.
      weights_dropout: applied to the weights; None keeps them.
    """
    logits_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    if bias_1NTS is not None:
        logits_BNTS = logits_BNTS + bias_1NTS
    if mask_B1TS is not None:
        logits_BNTS = logits_BNTS + jnp.where(mask_B1TS, 0.0, MASKED_LOGIT)
    weights_BNTS = jax.nn.softmax(logits_BNTS).astype(v_BSNH.dtype)
    if weights_dropout is not None:
        weights_BNTS = weights_dropout(weights_BNTS)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS, v_BSNH)


class Attention(nnx.Module):
    """Self-attention when keys come from the same array as queries, cross-attention otherwise."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        D, N, H = cfg.emb_dim, cfg.num_heads, cfg.head_dim
        self.cfg = cfg
        into_heads, out_of_heads = ("embed", "heads", "head_dim"), ("heads", "head_dim", "embed")
        # T5 folds the missing 1/sqrt(H) into the query's initial values, so logits start at unit variance.
        self.query = weight(rngs.params(), (D, N, H), into_heads, stddev=(D * H) ** -0.5)
        self.key = weight(rngs.params(), (D, N, H), into_heads, stddev=D**-0.5)
        self.value = weight(rngs.params(), (D, N, H), into_heads, stddev=D**-0.5)
        self.out = weight(rngs.params(), (N, H, D), out_of_heads, stddev=(N * H) ** -0.5)

    def project_queries(self, x_BTD: jax.Array) -> jax.Array:
        """Returns q_BTNH."""
        return checkpoint_name(_into_heads(x_BTD, self.query), "query")

    def project_keys_values(self, y_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns k_BSNH and v_BSNH."""
        k_BSNH = checkpoint_name(_into_heads(y_BSD, self.key), "key")
        v_BSNH = checkpoint_name(_into_heads(y_BSD, self.value), "value")
        return k_BSNH, v_BSNH

    def attend(self, q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, dropout_key=None) -> jax.Array:
        """Returns the attended values, projected back to [B, T, D]."""

        def drop(weights_BNTS: jax.Array) -> jax.Array:
            return dropout(weights_BNTS, self.cfg.dropout_rate, dropout_key)

        o_BTNH = dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, drop)
        o_BTNH = checkpoint_name(o_BTNH, "attention_out")
        return jnp.einsum("BTNH,NHD->BTD", o_BTNH, self.out[...].astype(o_BTNH.dtype))

    def __call__(self, x_BTD, y_BSD, bias_1NTS=None, mask_B1TS=None, dropout_key=None) -> jax.Array:
        """Lets each position of x look at the positions of y; returns [B, T, D]."""
        q_BTNH = self.project_queries(x_BTD)
        k_BSNH, v_BSNH = self.project_keys_values(y_BSD)
        return self.attend(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, dropout_key)


def _into_heads(x_BTD: jax.Array, kernel_DNH: nnx.Param) -> jax.Array:
    return jnp.einsum("BTD,DNH->BTNH", x_BTD, kernel_DNH[...].astype(x_BTD.dtype))
