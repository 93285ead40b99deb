# SPDX-License-Identifier: Apache-2.0
"""Random numbers as a pure function of the seed and the example's index: the same in any batch, on any host.

Shape letters: B batch, P random keys per row, K positions drawn per row.

Source: splitmix64 by Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
"""

import numpy as np

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio


def random_keys(seed: int, index_B: np.ndarray, num_keys: int) -> np.ndarray:
    """Returns uint64 keys_BP from splitmix64, with a hash of (seed, index) as the state of each row."""
    seed_1 = _mix(np.array([seed], np.uint64) + GOLDEN_GAMMA)
    state_B = _mix(seed_1 + np.asarray(index_B).astype(np.uint64) * GOLDEN_GAMMA)
    counter_P = np.arange(1, num_keys + 1, dtype=np.uint64) * GOLDEN_GAMMA
    return _mix(state_B[:, None] + counter_P[None, :])


def draw_uniform(keys: np.ndarray) -> np.ndarray:
    """Returns a float64 in [0, 1) for each key, from its upper 53 bits."""
    return (keys >> np.uint64(11)) * 2.0**-53


def draw_below(keys: np.ndarray, limit: int) -> np.ndarray:
    """Returns an int64 in [0, limit) for each key; the modulo bias is at most limit / 2**64."""
    return (keys % np.uint64(limit)).astype(np.int64)


def draw_places(keys_BP: np.ndarray, num_places: int) -> np.ndarray:
    """Returns the sorted positions of each row's `num_places` smallest keys; all sets are equally likely."""
    chosen_BK = np.argpartition(keys_BP, num_places - 1, axis=1)[:, :num_places]
    return np.sort(chosen_BK, axis=1)


def _mix(x: np.ndarray) -> np.ndarray:
    """Applies splitmix64's finaliser; uint64 overflow is intended."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
