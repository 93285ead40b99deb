# SPDX-License-Identifier: Apache-2.0
"""T5's relative position bias as a few square tiles, from which fused kernels build any block of it.

The bias depends on the distance alone, and not even on that beyond the model's largest distance. So the block of 128
keys and 128 queries that lie d blocks apart has the same bias as any other such block, and all blocks that are far
apart share two: five tiles per head are enough for sequences of any length, if the largest distance is T5's 128. Their
diagonals are the biases of 767 distances, which is all that a kernel has to read.

Shape letters: N heads, K buckets, D distances, s keys and t queries of a tile.
"""

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.model.kernels.reference import MASKED_LOGIT
from t5x_lite.model.position import RelativePositionBias


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
