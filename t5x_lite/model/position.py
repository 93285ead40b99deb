# SPDX-License-Identifier: Apache-2.0
"""T5's relative position bias: a learned scalar per head and bucket of token distances.

Shape letters: T queries, S keys, N heads, K buckets.
"""

import jax
import numpy as np
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.layers import weight


def relative_position_buckets(
    distance: np.ndarray, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> np.ndarray:
    """Maps each distance (key position minus query position) to a bucket in [0, num_buckets).

    Half of the buckets hold one distance each; the others grow logarithmically up to `max_distance`, and the last also
    holds all larger distances. A bidirectional stack uses half of the buckets per direction; a unidirectional one maps
    later keys, which the causal mask hides, to bucket 0.

    Source: T5X `layers.py`, `RelativePositionBiases`.
    """
    backward = -np.asarray(distance, dtype=np.int64)
    offset = np.zeros_like(backward)
    if bidirectional:
        num_buckets //= 2
        offset = np.where(backward < 0, num_buckets, 0)
        backward = np.abs(backward)
    else:
        backward = np.maximum(backward, 0)
    num_exact = num_buckets // 2
    log_ratio = np.log(np.maximum(backward, 1) / num_exact) / np.log(max_distance / num_exact)
    logarithmic = num_exact + (log_ratio * (num_buckets - num_exact)).astype(np.int64)
    bucket = np.where(backward < num_exact, backward, np.minimum(logarithmic, num_buckets - 1))
    return (bucket + offset).astype(np.int32)


class RelativePositionBias(nnx.Module):
    """A table of biases to add to the attention logits."""

    def __init__(self, cfg: ModelConfig, *, bidirectional: bool, rngs: nnx.Rngs):
        N, K = cfg.num_heads, cfg.relative_position_buckets
        self.cfg = cfg
        self.bidirectional = bidirectional
        stddev = (2 / (N + K)) ** 0.5  # variance scaling with fan_avg
        self.table = weight(rngs.params(), (N, K), ("heads", "buckets"), stddev=stddev, distribution="uniform")

    def buckets(self, distances: np.ndarray) -> np.ndarray:
        """Returns the bucket of each distance (key minus query)."""
        return relative_position_buckets(
            distances,
            bidirectional=self.bidirectional,
            num_buckets=self.cfg.relative_position_buckets,
            max_distance=self.cfg.relative_position_max_distance,
        )

    def bias_of_distance(self, distances: np.ndarray) -> jax.Array:
        """Returns the bias for each distance (key minus query), shaped [N, len(distances)]."""
        return self.table[...][:, self.buckets(distances)]

    def __call__(self, num_queries: int, num_keys: int) -> jax.Array:
        """Returns bias_1NTS, float32 so that its gradient is summed over the layers in full precision."""
        # Looks up T + S - 1 distances instead of T * S; the bias's rows are windows of the result. The gradient is thus
        # summed over diagonals before it is scattered to the buckets.
        distances = np.arange(-num_queries + 1, num_keys)
        windows_TS = (num_queries - 1 - np.arange(num_queries))[:, None] + np.arange(num_keys)[None, :]
        return self.bias_of_distance(distances)[:, windows_TS][None]
