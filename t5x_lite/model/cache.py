# SPDX-License-Identifier: Apache-2.0
"""Keys and values kept between decoding steps, so that a step costs one token and not the whole prefix.

Shape letters: L layers (absent inside a layer), B batch, T target tokens, S input tokens, N heads, H head.
"""

from typing import NamedTuple

import jax


class LayerCache(NamedTuple):
    """Of one layer, or of all with a leading L."""

    self_keys: jax.Array  # [L, B, T, N, H]; positions not decoded yet hold zeros
    self_values: jax.Array  # [L, B, T, N, H]
    cross_keys: jax.Array  # [L, B, S, N, H]; computed once from the encoded inputs
    cross_values: jax.Array  # [L, B, S, N, H]


class Cache(NamedTuple):
    """Everything a decoding step needs beside the model and the token."""

    layers: LayerCache
    inputs_mask_B11S: jax.Array  # True where the input is a token
    position: jax.Array  # scalar: how many tokens have been decoded


class SelfCache(NamedTuple):
    """What a decoding step needs where there is nothing to attend to but the tokens so far."""

    keys: jax.Array  # [L, B, T, N, H]; positions not decoded yet hold zeros
    values: jax.Array  # [L, B, T, N, H]
    mask_B11T: jax.Array  # False on the padding before a prompt
    position: jax.Array  # scalar: how many places of T have been filled


def insert(cached: jax.Array, new: jax.Array, position: jax.Array) -> jax.Array:
    """Writes `new`, shorter along T, from `position` on of T, the third dimension from the end."""
    return jax.lax.dynamic_update_slice_in_dim(cached, new.astype(cached.dtype), position, axis=cached.ndim - 3)
