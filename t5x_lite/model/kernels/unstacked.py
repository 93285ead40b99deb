# SPDX-License-Identifier: Apache-2.0
"""A decode-only layout of a model, for a single CPU.

Shape letters: B batch, S input tokens, K beams, D model, V vocabulary.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from t5x_lite.config import ModelConfig
from t5x_lite.model.cache import Cache
from t5x_lite.model.decoding import layers_of


def decode_layout(model: Any) -> Any:
    """Returns a decode-only model in the fastest layout: `Unstacked` on a single CPU, otherwise the model itself."""
    if isinstance(model, Unstacked) or not hasattr(model, "decode_step") or jax.default_backend() != "cpu":
        return model
    if any(len(leaf.sharding.device_set) > 1 for leaf in jax.tree.leaves(model)):
        return model
    return Unstacked(model, *_unstack(model))


def config_of(model: Any) -> ModelConfig:
    """Returns the configuration of a model in any layout."""
    return (model.model if isinstance(model, Unstacked) else model).cfg


@jax.jit
def _unstack(model: Any) -> tuple[tuple[Any, ...], jax.Array]:
    return layers_of(model.decoder), model.output_kernel().T


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unstacked:
    """A model with an unstacked copy of its decoder's blocks, and a transposed copy of its logits' kernel.

    Without them, XLA on a CPU copies each layer's slice of the stacked parameters at every decoding step; these copies
    and the kernel's layout take a third of a step of T5 1.1 small.
    """

    model: Any  # a `T5` or a `Decoder`
    layers: tuple[Any, ...]  # the decoder's blocks
    kernel_VD: jax.Array  # float32

    def encode(self, inputs_BS: jax.Array) -> jax.Array:
        """See `T5.encode`."""
        return self.model.encode(inputs_BS)

    def init_cache(self, *arguments: Any, **keywords: Any) -> Cache:
        """See `T5.init_cache` and `Decoder.init_cache`."""
        return self.model.init_cache(*arguments, **keywords)

    def decode_step(self, tokens_BK: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        """See `T5.decode_step`."""
        hidden_BKD, cache = self.model.decoder.step(self.model.embed(tokens_BK), cache, self.layers)
        logits_BKV = jnp.einsum("BKD,VD->BKV", hidden_BKD.astype(jnp.float32), self.kernel_VD)
        return logits_BKV, cache
