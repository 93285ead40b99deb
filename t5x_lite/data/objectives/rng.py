# SPDX-License-Identifier: Apache-2.0
"""Random numbers that are a pure function of (seed, index of the example).

A row of a batch draws the same numbers in whatever batch, on whatever host, it is made.

Shape letters: B batch, P random keys of a row, K places chosen in a row.

Source: splitmix64, of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
"""

import numpy as np

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # of splitmix64: 2**64 divided by the golden ratio


def random_keys(seed: int, index_B: np.ndarray, num_keys: int) -> np.ndarray:
    """Returns uint64 keys_BP from the splitmix64 generator, each row's state hashed from (seed, index)."""
    seed_1 = _mix(np.array([seed], np.uint64) + GOLDEN_GAMMA)
    state_B = _mix(seed_1 + np.asarray(index_B).astype(np.uint64) * GOLDEN_GAMMA)
    counter_P = np.arange(1, num_keys + 1, dtype=np.uint64) * GOLDEN_GAMMA
    return _mix(state_B[:, None] + counter_P[None, :])


def draw_uniform(keys: np.ndarray) -> np.ndarray:
    """Returns numbers in [0, 1), float64, one a key: the key's upper 53 bits, all that a float64 holds."""
    return (keys >> np.uint64(11)) * 2.0**-53


def draw_below(keys: np.ndarray, limit: int) -> np.ndarray:
    """Returns whole numbers in [0, limit), int64, one a key.

    They are remainders. No one of them is likelier than another by more than a part in 2**64 / limit.
    """
    return (keys % np.uint64(limit)).astype(np.int64)


def draw_places(keys_BP: np.ndarray, num_places: int) -> np.ndarray:
    """Returns the ascending places_BK of the smallest keys of each row: every set of places is equally likely."""
    chosen_BK = np.argpartition(keys_BP, num_places - 1, axis=1)[:, :num_places]
    return np.sort(chosen_BK, axis=1)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64; uint64 arrays wrap around, which is meant."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
