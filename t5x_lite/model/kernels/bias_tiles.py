# SPDX-License-Identifier: Apache-2.0
"""T5's relative position bias as a few square tiles, from which fused kernels build any block of it.

The bias depends on the distance alone, and not even on that beyond the model's largest distance R. So the block of 128
keys and 128 queries that lie d blocks apart has the same bias as any other such block, and all blocks that are far
apart share two: five tiles per head are enough for sequences of any length and R = 128.

Shape letters: N heads, K tiles, D distances, s keys and t queries of a tile.
"""

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.model.kernels.reference import MASKED_LOGIT
from t5x_lite.model.position import RelativePositionBias

TILE = 128


def reach(max_distance: int) -> int:
    """Returns how many blocks apart keys and queries have to be for the bias to be constant."""
    return -(-(max_distance + TILE - 1) // TILE)


def bias_tiles(bias: RelativePositionBias, *, is_causal: bool) -> jax.Array:
    """Returns tiles_NKst, float32: the bias of keys that lie -reach to reach blocks after the queries.

    Later keys get the logit of a masked key if `is_causal`. The gradient is summed along diagonals first.
    """
    farthest = reach(bias.cfg.relative_position_max_distance) * TILE + TILE - 1
    values_ND = bias_values(bias, farthest, is_causal=is_causal)
    firsts = range(0, values_ND.shape[1] - TILE, TILE)
    return jnp.stack([toeplitz(values_ND[:, first : first + 2 * TILE - 1]) for first in firsts], axis=1)


def bias_values(bias: RelativePositionBias, farthest: int, *, is_causal: bool) -> jax.Array:
    """Returns values_ND, float32: the bias of keys that come up to `farthest` tokens before or after the queries.

    Later keys get the logit of a masked key if `is_causal`. The gradient is summed by a product, in the same order
    every time; a scatter's order differs from run to run on GPUs.
    """
    distances = np.arange(-farthest, farthest + 1)
    buckets_KD = np.eye(bias.table.shape[1], dtype=np.float32)[:, bias.buckets(distances)]
    values_ND = jnp.einsum("NK,KD->ND", bias.table[...], buckets_KD, precision=jax.lax.Precision.HIGHEST)
    if is_causal:
        values_ND = jnp.where(distances[None] > 0, MASKED_LOGIT, values_ND)
    return values_ND


def toeplitz(window_ND: jax.Array) -> jax.Array:
    """Returns the square tile_Nst with `window_ND[:, D // 2 + s - t]` at s and t."""
    N, D = window_ND.shape
    size = D // 2 + 1
    # Rows of D + 1 read as rows of D: each begins one place earlier than the row before.
    padded_ND = jnp.pad(window_ND[:, ::-1], ((0, 0), (0, 1)))
    repeated_NsD = jnp.broadcast_to(padded_ND[:, None], (N, size, D + 1))
    shifted_NsD = repeated_NsD.reshape(N, -1)[:, : size * D].reshape(N, size, D)
    return shifted_NsD[:, :, size - 1 :]
