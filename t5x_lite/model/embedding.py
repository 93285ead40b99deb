# SPDX-License-Identifier: Apache-2.0
"""Where token ids become vectors, and vectors predictions of token ids.

Shape letters: B batch, T tokens, D model, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.layers import residual, weight
from t5x_lite.parallel.rules import constrain


class Predictions(NamedTuple):
    """What a model makes of a batch, and what it should have: its logits_BTV are `hidden_BTD @ kernel_DV`.

    They are left unmultiplied, for the loss never holds all of them. V is the vocabulary, or labels.
    """

    hidden_BTD: jax.Array
    kernel_DV: jax.Array
    targets_BT: jax.Array
    weights_BT: jax.Array  # 1 where a target counts, 0 where it does not


class Reader(nnx.Module):
    """A model that reads token ids: the owner of their embedding, float32 [V, D]."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.embedding = weight(rngs.params(), (cfg.vocab_size, cfg.emb_dim), ("vocab", "embed"), stddev=1.0)

    def embed(self, ids: jax.Array) -> jax.Array:
        """Returns the embeddings of ids in the compute dtype, unscaled."""
        # Each device looks up its own part of D for the ids of all, and then gets the rest of its own tokens: to gather
        # the table, and to reduce its gradient, would move all of it.
        ids = constrain(ids, "lookup_batch", None)
        x_BTD = jnp.take(self.embedding[...], ids, axis=0).astype(self.cfg.dtype)
        return residual(constrain(x_BTD, "lookup_batch", None, "embed"))


class Predictor(nnx.Module):
    """A model that predicts token ids, from their embedding or, as T5 1.1, from a kernel of its own.

    Its constructor sets `cfg` and `embedding`, and calls `init_logits_kernel`.
    """

    cfg: ModelConfig
    embedding: nnx.Param

    def init_logits_kernel(self, rngs: nnx.Rngs) -> None:
        """Draws the kernel of the logits, float32 [D, V], unless they come from the embedding."""
        if not self.cfg.tie_embeddings:
            D, V = self.cfg.emb_dim, self.cfg.vocab_size
            self.logits_kernel = weight(
                rngs.params(), (D, V), ("embed", "vocab"), stddev=D**-0.5, law="truncated_normal"
            )

    def logits(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns logits_BTV in float32."""
        kernel_DV = self.output_kernel()
        return jnp.einsum("BTD,DV->BTV", hidden_BTD.astype(jnp.float32), kernel_DV)

    def output_kernel(self) -> jax.Array:
        """Returns kernel_DV, float32, that takes hidden states to logits."""
        kernel_DV = self.embedding[...].T if self.cfg.tie_embeddings else self.logits_kernel[...]
        return kernel_DV * self.cfg.emb_dim**-0.5 if self.cfg.scales_logits else kernel_DV
