# SPDX-License-Identifier: Apache-2.0
"""Boolean attention masks that broadcast against logits [B, N, T, S], True where a query sees a key.

Padding is masked only as a key: outputs of padded queries are never read, and masks with T = 1 are cheap.

Shape letters: B batch, T queries, S keys; 1 if broadcast.
"""

import jax
import jax.numpy as jnp


def padding_mask(keys_BS: jax.Array, pad_id: int) -> jax.Array:
    """Returns mask_B11S: True where the key is not padding."""
    return (keys_BS != pad_id)[:, None, None, :]


def causal_mask(length: int) -> jax.Array:
    """Returns mask_11TT: True where the key does not come after the query."""
    return jnp.tri(length, dtype=bool)[None, None]


def prefix_mask(prefix_BT: jax.Array) -> jax.Array:
    """Returns mask_B1TT: True where query and key are both in the prefix, where prefix_BT is positive."""
    prefix_B1T = (prefix_BT > 0)[:, None]
    return prefix_B1T[:, :, :, None] & prefix_B1T[:, :, None]


def segment_mask(query_segments_BT: jax.Array, key_segments_BS: jax.Array) -> jax.Array:
    """Returns mask_B1TS: True where query and key are in the same example of a packed row."""
    key_segments_B11S = key_segments_BS[:, None, None, :]
    return (query_segments_BT[:, None, :, None] == key_segments_B11S) & (key_segments_B11S > 0)
