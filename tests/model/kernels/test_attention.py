"""Tests t5x_lite/model/kernels/attention.py"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import ModelConfig
from t5x_lite.model.decoding import cached_attention
from t5x_lite.model.kernels import choice
from t5x_lite.model.kernels.attention import attention, dot_product_attention, prepare
from t5x_lite.model.kernels.reference import reference_attention
from t5x_lite.model.masks import Codes, Visible

B, T, S, N, H = 2, 3, 5, 4, 7


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def queries_keys_values():
    return normal(0, B, T, N, H), normal(1, B, S, N, H), normal(2, B, S, N, H)


def mask():
    """Of its own for each example and query; one query of the last example sees nothing."""
    allowed_B1TS = np.random.default_rng(0).random((B, 1, T, S)) < 0.6
    allowed_B1TS[1, 0, 2] = False
    return jnp.asarray(allowed_B1TS)


def of_cache(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS):
    return cached_attention(q_BTNH, *(jnp.transpose(x, (0, 2, 3, 1)) for x in (k_BSNH, v_BSNH)), bias_1NTS, mask_B1TS)


@pytest.mark.parametrize("attend", [reference_attention, dot_product_attention, of_cache])
def test_attention_equals_a_loop_over_queries(attend):
    q_BTNH, k_BSNH, v_BSNH = queries_keys_values()
    bias_1NTS, mask_B1TS = normal(3, 1, N, T, S), mask()
    actual_BTNH = attend(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS)
    for b, t, n in np.ndindex(B, T, N):
        scores_S = np.asarray(k_BSNH[b, :, n] @ q_BTNH[b, t, n] + bias_1NTS[0, n, t], np.float64)
        scores_S = np.where(mask_B1TS[b, 0, t], scores_S, -1e10)
        weights_S = np.exp(scores_S - scores_S.max())
        expected_H = weights_S / weights_S.sum() @ np.asarray(v_BSNH[b, :, n], np.float64)
        np.testing.assert_allclose(actual_BTNH[b, t, n], expected_H, rtol=1e-5, atol=1e-5)


def test_a_masked_key_gets_no_weight():
    q_BTNH, k_BSNH, v_BSNH = queries_keys_values()
    mask_11TS = jnp.ones((1, 1, T, S), bool).at[..., -1].set(False)
    masked = dot_product_attention(q_BTNH, k_BSNH, v_BSNH, None, mask_11TS)
    absent = dot_product_attention(q_BTNH, k_BSNH[:, :-1], v_BSNH[:, :-1])
    np.testing.assert_allclose(masked, absent, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attend", [reference_attention, dot_product_attention])
def test_a_query_that_may_see_nothing_averages_all_keys(attend):
    q_BTNH, k_BSNH, v_BSNH = queries_keys_values()
    blind = attend(q_BTNH, k_BSNH, v_BSNH, None, jnp.zeros((1, 1, T, S), bool))
    np.testing.assert_allclose(blind[:, 0], jnp.mean(v_BSNH, axis=1), rtol=1e-5, atol=1e-5)


def test_dropped_weights_are_those_that_drop_drops():
    q_BTNH, k_BSNH, v_BSNH = queries_keys_values()
    np.testing.assert_array_equal(dot_product_attention(q_BTNH, k_BSNH, v_BSNH, drop=jnp.zeros_like), 0)


def test_all_implementations_take_heads_side_by_side(monkeypatch):
    q_BTNH, k_BSNH, v_BSNH = (normal(seed, 2, length, 2, 64) for seed, length in enumerate((3, 5, 5)))
    visible = Visible(keys_BS=jnp.asarray([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]))
    expected_BTA = reference_attention(q_BTNH, k_BSNH, v_BSNH, None, visible.mask(3)).reshape(2, 3, 128)
    for platform in (None, "tpu", "gpu"):
        monkeypatch.setattr(choice, "interpreted", platform)
        seen = prepare(ModelConfig(), visible, 2, 3, 5)
        assert isinstance(seen, Codes) == (platform is not None)
        q_BTA, k_BSA, v_BSA = (x_BTNH.reshape(*x_BTNH.shape[:2], 128) for x_BTNH in (q_BTNH, k_BSNH, v_BSNH))
        actual_BTA = attention(q_BTA, (k_BSA, v_BSA), None, seen, num_heads=2)
        np.testing.assert_allclose(actual_BTA, expected_BTA, atol=1e-5)
