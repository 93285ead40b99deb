# SPDX-License-Identifier: Apache-2.0
"""The key-value cache, shared by the beams (or samples) of an example.

Each beam writes to its own places and attends to those of its history. Beam search reorders only visibility masks: keys
and values are never copied, and the encoded inputs are stored once per example.

Shape letters: B batch, K beams, S input tokens, P prompt places, C = P + steps * K places, N heads, H head.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5x_lite.config import ModelConfig


class KeysValues(NamedTuple):
    """Keys and values of one layer; places come last, so that products read contiguous memory."""

    keys_BNHC: jax.Array
    values_BNHC: jax.Array

    def insert(self, keys_BKNH: jax.Array, values_BKNH: jax.Array, place: jax.Array) -> "KeysValues":
        """Returns a copy with K places written, starting at `place`."""
        new = (jnp.transpose(array, (0, 2, 3, 1)) for array in (keys_BKNH, values_BKNH))
        return KeysValues(
            *(
                jax.lax.dynamic_update_slice_in_dim(old, array.astype(old.dtype), place, axis=3)
                for old, array in zip(self, new, strict=True)
            )
        )


def keys_values(keys_BSNH: jax.Array, values_BSNH: jax.Array) -> KeysValues:
    """Transposes keys and values to the cache's layout."""
    return KeysValues(*(jnp.transpose(array, (0, 2, 3, 1)) for array in (keys_BSNH, values_BSNH)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """The decoding state, except for the tokens."""

    layers: tuple[KeysValues, ...]  # per layer, of prompt and decoded tokens; unwritten places are zero
    visible_BKC: jax.Array  # True at the places that each beam sees
    num_steps: jax.Array  # steps taken, a scalar
    prompt_length: int = dataclasses.field(metadata={"static": True}, default=0)  # P; 0 in an encoder-decoder
    encoded: tuple[KeysValues, ...] = ()  # per layer, of the encoded inputs; empty in a decoder-only model
    inputs_mask_B11S: jax.Array | None = None  # True where the input is not padding

    @property
    def place(self) -> jax.Array:
        """The place that the first beam writes in the next step."""
        return self.prompt_length + self.num_steps * self.visible_BKC.shape[1]

    def step_places(self) -> jax.Array:
        """Returns visible_BKC of the next step, including each beam's new token."""
        B, K, _ = self.visible_BKC.shape
        own_BKK = jnp.broadcast_to(jnp.eye(K, dtype=bool), (B, K, K))
        return jax.lax.dynamic_update_slice_in_dim(self.visible_BKC, own_BKK, self.place, axis=2)

    def at_places(self, by_position_1NT: jax.Array) -> jax.Array:
        """Expands values per position to values per place, [1, N, 1, C]."""
        prompt_1NP, steps_1NT = jnp.split(by_position_1NT, [self.prompt_length], axis=-1)
        steps_1NC = jnp.repeat(steps_1NT, self.visible_BKC.shape[1], axis=-1)
        return jnp.concatenate([prompt_1NP, steps_1NC], axis=-1)[:, :, None]

    @property
    def num_positions(self) -> int:
        """The number of positions: P, plus one per step."""
        _, K, C = self.visible_BKC.shape
        return self.prompt_length + (C - self.prompt_length) // K

    def reorder(self, parents_BK: jax.Array) -> "Cache":
        """Returns the cache after a beam search step: beam k continues beam `parents_BK[b, k]`."""
        visible_BKC = jnp.take_along_axis(self.visible_BKC, parents_BK[:, :, None], axis=1)
        return dataclasses.replace(self, visible_BKC=visible_BKC)


def no_prompts(cfg: ModelConfig, batch_size: int) -> tuple[KeysValues, ...]:
    """Returns empty keys and values for each decoder layer."""
    nothing_BNH0 = jnp.zeros((batch_size, cfg.num_heads, cfg.head_dim, 0), cfg.dtype)
    return (KeysValues(nothing_BNH0, nothing_BNH0),) * cfg.num_decoder_layers


def with_room(prompts: tuple[KeysValues, ...], visible_BP: jax.Array, num_steps: int, num_beams: int) -> Cache:
    """Returns a cache of prompts (P may be 0) with room for `num_steps` tokens per beam."""
    room = num_steps * num_beams
    layers = tuple(
        KeysValues(*(jnp.pad(array, ((0, 0), (0, 0), (0, 0), (0, room))) for array in layer)) for layer in prompts
    )
    visible_BC = jnp.pad(visible_BP, ((0, 0), (0, room)))
    B, C = visible_BC.shape
    visible_BKC = jnp.broadcast_to(visible_BC[:, None], (B, num_beams, C))
    return Cache(layers, visible_BKC, jnp.zeros((), jnp.int32), prompt_length=visible_BP.shape[1])
