# SPDX-License-Identifier: Apache-2.0
"""Describes the keys that each query of attention sees, by arrays of tokens or a boolean mask of queries x keys.

Masks broadcast against logits [B, N, T, S] and are True where a query sees a key. Padding is masked only as a key:
outputs of padded queries are never read, and masks with T = 1 are cheap.

Shape letters: B batch, T queries, S keys; 1 if broadcast.
"""

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Codes:
    """`Visible` as fused kernels read it: a query sees the keys of its code, whose lowest bit marks a prefix."""

    queries_BT: jax.Array | None = None  # int32; None, as for the keys, if all see each other
    keys_BS: jax.Array | None = None
    is_causal: bool = dataclasses.field(default=False, metadata={"static": True})
    has_prefix: bool = dataclasses.field(default=False, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Visible:
    """What queries see, in memory linear in their number."""

    keys_BS: jax.Array | None = None  # the keys' segments, 0 for keys that no query sees; None: all are in segment 1
    queries_BT: jax.Array | None = None  # the queries' segments, 0 for padding; None: all are in segment 1
    prefix_BT: jax.Array | None = None  # positive for tokens that see each other both ways; None without a prefix
    is_causal: bool = dataclasses.field(default=False, metadata={"static": True})  # later keys are not seen

    def mask(self, length: int) -> jax.Array | None:
        """Returns mask_B1TS for `length` queries; None if they see all keys."""
        ordered = causal_mask(length) if self.is_causal else None
        if ordered is not None and self.prefix_BT is not None:
            ordered = ordered | prefix_mask(self.prefix_BT)
        if self.keys_BS is None:
            return ordered
        if self.queries_BT is None:
            same_B1TS = (self.keys_BS > 0)[:, None, None, :]
        else:
            same_B1TS = segment_mask(self.queries_BT, self.keys_BS)
        return same_B1TS if ordered is None else ordered & same_B1TS

    def codes(self, batch_size: int, num_queries: int, num_keys: int) -> Codes:
        """Returns the codes; padded queries have one that no key has."""
        if self.keys_BS is None and self.prefix_BT is None:
            return Codes(is_causal=self.is_causal)
        keys_BS, queries_BT = self.keys_BS, self.queries_BT
        keys_BS = jnp.ones((batch_size, num_keys), jnp.int32) if keys_BS is None else keys_BS.astype(jnp.int32)
        if queries_BT is None:
            queries_BT = jnp.ones((batch_size, num_queries), jnp.int32)
        prefix_BT = 0 if self.prefix_BT is None else (self.prefix_BT > 0).astype(jnp.int32)
        return Codes(
            queries_BT=2 * jnp.where(queries_BT > 0, queries_BT, -1).astype(jnp.int32) + prefix_BT,
            keys_BS=2 * keys_BS + prefix_BT,
            is_causal=self.is_causal,
            has_prefix=self.prefix_BT is not None,
        )


def padded(keys_BS: jax.Array, pad_id: int, segments_BS: jax.Array | None = None) -> Visible:
    """Returns what the encoder's tokens see: all that are not padding, or those of the same example of a packed row."""
    if segments_BS is not None:
        return Visible(keys_BS=segments_BS, queries_BT=segments_BS)
    return Visible(keys_BS=(keys_BS != pad_id).astype(jnp.int32))


def causal(segments_BT: jax.Array | None = None, prefix_BT: jax.Array | None = None) -> Visible:
    """Returns what a decoder's tokens see: those before them, and in a prefix those after them as well."""
    return Visible(keys_BS=segments_BT, queries_BT=segments_BT, prefix_BT=prefix_BT, is_causal=True)


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
