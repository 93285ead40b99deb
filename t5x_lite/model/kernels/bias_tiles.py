# SPDX-License-Identifier: Apache-2.0
"""T5's relative position bias as a few square tiles, from which fused kernels build any block of it.

The bias depends on the distance alone, and not even on that beyond the model's largest distance. So the block of 128
keys and 128 queries that lie d blocks apart has the same bias as any other such block, and all blocks that are far
apart share two: five tiles per head are enough for sequences of any length, if the largest distance is T5's 128. Their
diagonals are the biases of 767 distances, which is all that a kernel has to read.

Shape letters: N heads, K tiles, D = (K + 1) * 128 distances, b buckets, s keys and t queries of a tile.
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


def bias_by_distance(bias: RelativePositionBias, *, is_causal: bool) -> jax.Array:
    """Returns bias_ND, float32: the biases of all distances (key minus query) in tiles, the largest first; then a 0.

    Later keys get the logit of a masked key if `is_causal`. The gradient of the table is a product, which adds in the
    same order every time, unlike a scatter on GPUs.
    """
    largest = (reach(bias.cfg.relative_position_max_distance) + 1) * TILE - 1
    distances = np.arange(largest, -largest - 1, -1)
    of_bucket_bD = np.eye(bias.table.shape[1], dtype=np.float32)[:, bias.buckets(distances)]
    bias_ND = jnp.einsum("Nb,bD->ND", bias.table[...], of_bucket_bD, precision=jax.lax.Precision.HIGHEST)
    if is_causal:
        bias_ND = jnp.where(distances[None] > 0, MASKED_LOGIT, bias_ND)
    return jnp.pad(bias_ND, ((0, 0), (0, 1)))


def num_tiles(num_distances: int) -> int:
    """Returns K for D."""
    return num_distances // TILE - 1


def tiles(bias_ND: jax.Array) -> jax.Array:
    """Returns tiles_NKst: the bias of keys that lie -reach to reach blocks after the queries."""
    firsts = range(bias_ND.shape[1] - 2 * TILE, -1, -TILE)
    return jnp.stack([_toeplitz(bias_ND[:, first : first + 2 * TILE]) for first in firsts], axis=1)


def _toeplitz(window_ND: jax.Array) -> jax.Array:
    """Returns tile_Nst with `window_ND[:, TILE - 1 - s + t]` at s and t."""
    N, D = window_ND.shape
    # Rows of 256 read as rows of 255: each begins one place earlier than the row before.
    repeated_NsD = jnp.broadcast_to(window_ND[:, None], (N, TILE, D))
    shifted_NsD = repeated_NsD.reshape(N, -1)[:, : TILE * (D - 1)].reshape(N, TILE, D - 1)
    return shifted_NsD[:, :, TILE - 1 :]
