# SPDX-License-Identifier: Apache-2.0
"""Which keys a query may see, as booleans shaped to broadcast against attention logits [B, N, T, S].

Only keys are masked for being padding: what a padded query computes is never read, and masks without a query
dimension cost nothing to build or add.

Shape letters: B batch, T queries, S keys; 1 where all share.
"""

import jax
import jax.numpy as jnp


def padding_mask(keys_BS: jax.Array) -> jax.Array:
    """Returns mask_B11S: True where the key is a token, that is where its id is above 0."""
    return (keys_BS > 0)[:, None, None, :]


def causal_mask(length: int) -> jax.Array:
    """Returns mask_11TT: True where the key is not after the query."""
    return jnp.tri(length, dtype=bool)[None, None]


def prefix_mask(prefix_BT: jax.Array) -> jax.Array:
    """Returns mask_B1TT: True where query and key both belong to the prefix, that is where it is above 0."""
    prefix_B1T = (prefix_BT > 0)[:, None]
    return prefix_B1T[:, :, :, None] & prefix_B1T[:, :, None]


def segment_mask(query_segments_BT: jax.Array, key_segments_BS: jax.Array) -> jax.Array:
    """Returns mask_B1TS: True where query and key come from the same example of a packed row."""
    return (query_segments_BT[:, None, :, None] == key_segments_BS[:, None, None, :]) & padding_mask(key_segments_BS)


def combine(*masks: jax.Array | None) -> jax.Array | None:
    """Returns what all masks allow; None stands for a mask that allows everything."""
    present = [mask for mask in masks if mask is not None]
    if not present:
        return None
    combined = present[0]
    for mask in present[1:]:
        combined = combined & mask
    return combined
