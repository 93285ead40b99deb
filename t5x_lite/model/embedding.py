# SPDX-License-Identifier: Apache-2.0
"""Token embedding, and the projection of hidden states to logits.

Shape letters: B batch, T tokens, D model, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.layers import shard_residual, weight
from t5x_lite.parallel.rules import constrain


class Predictions(NamedTuple):
    """A batch's targets and predictions, whose logits are `hidden_BTD @ kernel_DV`; V is the vocabulary or the labels.

    The loss computes the logits in chunks, to avoid storing them all.
    """

    hidden_BTD: jax.Array
    kernel_DV: jax.Array
    targets_BT: jax.Array
    weights_BT: jax.Array  # 1 where a target counts in the loss, otherwise 0


class TokenEmbedding(nnx.Module):
    """Base class of models that own a token embedding, float32 [V, D]."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.embedding = weight(rngs.params(), (cfg.vocab_size, cfg.emb_dim), ("vocab", "embed"), stddev=1.0)

    def embed(self, ids: jax.Array) -> jax.Array:
        """Returns the embeddings of ids in the compute dtype, unscaled."""
        # Each device looks up its shard of D for all ids, and an all-to-all then gives it its own tokens. Gathering the
        # table and reducing its gradient would move the whole table.
        ids = constrain(ids, "lookup_batch", None)
        x_BTD = jnp.take(self.embedding[...], ids, axis=0).astype(self.cfg.dtype)
        return shard_residual(constrain(x_BTD, "lookup_batch", None, "embed"))


class LMHead(nnx.Module):
    """Base class of models that predict token ids, with a tied embedding or, as in T5 1.1, a separate kernel.

    Subclasses set `cfg` and `embedding`, and call `init_logits_kernel`.
    """

    cfg: ModelConfig
    embedding: nnx.Param

    def init_logits_kernel(self, rngs: nnx.Rngs) -> None:
        """Initialises the logits' kernel, float32 [D, V], unless the embedding is tied."""
        if not self.cfg.tie_embeddings:
            D, V = self.cfg.emb_dim, self.cfg.vocab_size
            axes = ("embed", "vocab")
            self.logits_kernel = weight(rngs.params(), (D, V), axes, stddev=D**-0.5, distribution="truncated_normal")

    def logits(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns logits_BTV, float32."""
        kernel_DV = self.output_kernel()
        return jnp.einsum("BTD,DV->BTV", hidden_BTD.astype(jnp.float32), kernel_DV)

    def output_kernel(self) -> jax.Array:
        """Returns the logits' kernel, float32 [D, V], including their scale."""
        kernel_DV = self.embedding[...].T if self.cfg.tie_embeddings else self.logits_kernel[...]
        return kernel_DV * self.cfg.emb_dim**-0.5 if self.cfg.scales_logits else kernel_DV
