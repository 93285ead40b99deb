"""Tests t5x_lite/data/objectives/rng.py"""

import collections
import itertools
import math

import numpy as np

from t5x_lite.data.objectives.rng import _mix, draw_below, draw_places, draw_uniform, random_keys


def test_the_mixer_is_that_of_splitmix64():
    """The first two numbers that the published generator gives for seed 0."""
    states = np.array([0x9E3779B97F4A7C15, 0x3C6EF372FE94F82A], np.uint64)
    assert _mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_no_two_examples_or_seeds_share_random_keys():
    """Neighbouring states of a counter-based generator are the same stream, shifted, unless they are hashed."""
    keys = np.concatenate([random_keys(seed, np.arange(50), 100) for seed in range(4)])
    assert len(np.unique(keys)) == 4 * 50 * 100


def test_keys_depend_on_seed_and_index_and_not_on_the_batch_or_how_many_are_drawn():
    index_B = np.array([5, 2**40, 0])
    keys_BP = random_keys(3, index_B, 7)
    for b, index in enumerate(index_B):
        np.testing.assert_array_equal(keys_BP[b], random_keys(3, [index], 600)[0, :7])


def test_uniform_numbers_are_in_the_unit_interval_and_even():
    assert draw_uniform(np.array([0, 2**64 - 1, 2**63], np.uint64)).tolist() == [0.0, 1 - 2.0**-53, 0.5]
    numbers = draw_uniform(random_keys(1, np.arange(200), 100)).ravel()
    counts, _ = np.histogram(numbers, bins=16, range=(0, 1))
    assert np.square(counts - 1250).sum() / 1250 < 15 + 5 * math.sqrt(30)


def test_whole_numbers_are_below_the_limit_and_even():
    numbers = draw_below(random_keys(2, np.arange(300), 70), 7)
    assert numbers.dtype == np.int64
    counts = np.bincount(numbers.ravel(), minlength=7)
    assert len(counts) == 7
    assert np.square(counts - 3_000).sum() / 3_000 < 6 + 5 * math.sqrt(12)


def test_places_are_ascending_and_every_set_of_them_is_equally_likely():
    places_BK = draw_places(random_keys(4, np.arange(5_000), 6), 3)
    counts = collections.Counter(map(tuple, places_BK.tolist()))
    assert sorted(counts) == list(itertools.combinations(range(6), 3))
    assert sum((count - 250) ** 2 / 250 for count in counts.values()) < 19 + 5 * math.sqrt(38)
