# SPDX-License-Identifier: Apache-2.0
"""A model with its decoder's layers apart and the logits' kernel by rows, as decoding steps on a CPU read them fastest.

From arrays that hold all layers, XLA on a CPU copies each layer's part at every step: of T5 1.1 small that and the
kernel's layout take a third of a step. On other devices, and on a mesh, the model is decoded with as it is.

Shape letters: L layers, B batch, S input tokens, K beams, D model, V vocabulary.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from t5x_lite.model.cache import Cache


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unstacked:
    """Decodes as its model does, with copies of what the steps read.

    Args:
      model: a T5, or a decoder alone.
      layers: the decoder's blocks, one by one.
      kernel_VD: of the logits, float32.
    """

    model: Any
    layers: tuple[Any, ...]
    kernel_VD: jax.Array

    def encode(self, inputs_BS: jax.Array) -> jax.Array:
        """As `T5.encode`."""
        return self.model.encode(inputs_BS)

    def init_cache(self, *arguments: Any, **keywords: Any) -> Cache:
        """As that of the model."""
        return self.model.init_cache(*arguments, **keywords)

    def decode_step(self, tokens_BK: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        """As `T5.decode_step`."""
        hidden_BKD, cache = self.model.decoder.step(self.model.embed(tokens_BK), cache, self.layers)
        logits_BKV = jnp.einsum("BKD,VD->BKV", hidden_BKD.astype(jnp.float32), self.kernel_VD)
        return logits_BKV, cache


def unstacked(model: Any) -> Any:
    """Returns what to decode many steps with: on a CPU its unstacked form, else, or if it does not decode, itself."""
    if isinstance(model, Unstacked) or not hasattr(model, "decode_step") or jax.default_backend() != "cpu":
        return model
    if any(len(leaf.sharding.device_set) > 1 for leaf in jax.tree.leaves(model)):
        return model
    return Unstacked(model, *_copied(model))


@jax.jit
def _copied(model: Any) -> tuple[tuple[Any, ...], jax.Array]:
    return model.decoder.layers(), model.output_kernel().T
