"""Tests t5x_lite/model/cache.py"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from t5x_lite.model.cache import KeysValues, keys_values, no_prompts, with_room
from tests import tiny

B, K, P, STEPS, N, H = 2, 3, 4, 5, 6, 7
C = P + STEPS * K


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def cache():
    prompts = (keys_values(normal(0, B, P, N, H), normal(1, B, P, N, H)),)
    return with_room(prompts, np.array([[0, 1, 1, 1], [1, 1, 1, 1]], bool), STEPS, K)


def test_tokens_are_written_at_their_places_and_nowhere_else():
    new_BKNH = normal(0, B, K, N, H)
    empty = KeysValues(jnp.zeros((B, N, H, C)), jnp.zeros((B, N, H, C), jnp.bfloat16))
    written = empty.insert(new_BKNH, 2 * new_BKNH, jnp.asarray(5))
    keys_BNHC = np.asarray(written.keys_BNHC)
    np.testing.assert_array_equal(keys_BNHC[..., 5 : 5 + K], new_BKNH.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(np.delete(keys_BNHC, range(5, 5 + K), axis=3), 0)
    assert written.values_BNHC.dtype == jnp.bfloat16


def test_a_step_sees_what_its_beam_saw_and_its_own_token():
    visible_BKC = np.asarray(cache().step_places())
    np.testing.assert_array_equal(visible_BKC[:, :, :P], cache().visible_BKC[:, :, :P])
    np.testing.assert_array_equal(visible_BKC[:, :, P : P + K], np.broadcast_to(np.eye(K, dtype=bool), (B, K, K)))
    assert not visible_BKC[:, :, P + K :].any()
    later = dataclasses.replace(cache(), num_steps=jnp.asarray(2))
    assert later.place == P + 2 * K
    assert np.asarray(later.step_places())[0, 1].nonzero()[0].tolist() == [1, 2, 3, P + 2 * K + 1]


def test_beams_that_continue_another_see_its_history():
    visible_BKC = np.random.default_rng(0).random((B, K, C)) < 0.5
    parents_BK = np.array([[2, 2, 0], [1, 0, 1]])
    before = dataclasses.replace(cache(), visible_BKC=visible_BKC)
    after = np.asarray(before.reorder(parents_BK).visible_BKC)
    for b, k in np.ndindex(B, K):
        np.testing.assert_array_equal(after[b, k], visible_BKC[b, parents_BK[b, k]])


def test_beams_of_one_step_share_its_position():
    by_position_1NT = normal(0, 1, N, P + STEPS)
    at_places = np.asarray(cache().at_places(by_position_1NT))
    assert at_places.shape == (1, N, 1, C)
    np.testing.assert_array_equal(at_places[0, :, 0, :P], by_position_1NT[0, :, :P])
    for step in range(STEPS):
        for k in range(K):
            np.testing.assert_array_equal(at_places[0, :, 0, P + step * K + k], by_position_1NT[0, :, P + step])
    assert cache().num_positions == P + STEPS


def test_a_decoder_without_a_prompt_only_has_room_for_its_steps():
    cfg = tiny.T5_1_1
    empty = with_room(no_prompts(cfg, B), jnp.zeros((B, 0), bool), STEPS, K)
    assert [layer.keys_BNHC.shape for layer in empty.layers] == [(B, 3, 5, STEPS * K)] * cfg.num_decoder_layers
    assert (empty.prompt_length, empty.num_positions, empty.visible_BKC.shape) == (0, STEPS, (B, K, STEPS * K))
