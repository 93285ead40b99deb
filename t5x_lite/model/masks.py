# SPDX-License-Identifier: Apache-2.0
"""Attention masks: booleans that broadcast against attention logits [B, N, T, S], True where a query sees a key.

Padding is only masked as a key: the output of a padded query is never read, and masks without a query dimension are
cheap to build and add.

Shape letters: B batch, T queries, S keys; 1 where all share.
"""

import jax
import jax.numpy as jnp


def padding_mask(keys_BS: jax.Array) -> jax.Array:
    """Returns mask_B11S: True where the key is not padding, whose id is 0."""
    return (keys_BS > 0)[:, None, None, :]


def causal_mask(length: int) -> jax.Array:
    """Returns mask_11TT: True where the key does not come after the query."""
    return jnp.tri(length, dtype=bool)[None, None]


def prefix_mask(prefix_BT: jax.Array) -> jax.Array:
    """Returns mask_B1TT: True where query and key both belong to the prefix, where prefix_BT is above 0."""
    prefix_B1T = (prefix_BT > 0)[:, None]
    return prefix_B1T[:, :, :, None] & prefix_B1T[:, :, None]


def segment_mask(query_segments_BT: jax.Array, key_segments_BS: jax.Array) -> jax.Array:
    """Returns mask_B1TS: True where query and key belong to the same example of a packed row."""
    return (query_segments_BT[:, None, :, None] == key_segments_BS[:, None, None, :]) & padding_mask(key_segments_BS)
