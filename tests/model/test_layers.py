"""Tests t5x_lite/model/layers.py"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import MeshConfig
from t5x_lite.model.layers import RMSNorm, dropout, shard_tokens, weight
from t5x_lite.parallel.mesh import make_mesh
from tests import tiny


@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_a_weight_has_the_given_standard_deviation(distribution):
    values = np.asarray(
        weight(jax.random.key(0), (300, 401), ("embed", "mlp"), stddev=0.2, distribution=distribution)[...]
    )
    np.testing.assert_allclose(values.std(), 0.2, rtol=0.02)
    np.testing.assert_allclose(values.mean(), 0, atol=0.002)
    farthest = {"normal": np.inf, "truncated_normal": 2 * 0.2 / 0.8796, "uniform": 3**0.5 * 0.2}[distribution]
    assert farthest * 0.95 < np.abs(values).max() <= farthest * 1.0001 or distribution == "normal"


def test_the_parameters_start_with_the_published_spreads():
    cfg = tiny.T5_1_1.__class__(
        vocab_size=256,
        emb_dim=160,
        num_heads=6,
        head_dim=24,
        mlp_dim=320,
        num_encoder_layers=3,
        num_decoder_layers=2,
    )
    model = tiny.model(cfg)
    block = model.encoder.blocks
    D, N, H, F = 160, 6, 24, 320
    expected = {
        "embedding": (model.embedding, 1.0),
        "query": (block.attention.query, (D * H) ** -0.5),
        "key": (block.attention.key, D**-0.5),
        "value": (block.attention.value, D**-0.5),
        "out": (block.attention.out, (N * H) ** -0.5),
        "wi_0": (block.mlp.wi_0, D**-0.5),
        "wi_1": (block.mlp.wi_1, D**-0.5),
        "wo": (block.mlp.wo, F**-0.5),
        "logits_kernel": (model.logits_kernel, D**-0.5),
        "position bias": (model.encoder.position_bias.table, (2 / (N + 32)) ** 0.5),
    }
    for name, (param, stddev) in expected.items():
        tolerance = 0.1 if name == "position bias" else 0.02  # 192 numbers
        np.testing.assert_allclose(np.std(np.asarray(param[...])), stddev, rtol=tolerance, err_msg=name)
    np.testing.assert_array_equal(block.mlp_norm.scale[...], np.ones((3, D)))


def test_the_norm_divides_by_the_root_mean_square_and_keeps_the_mean():
    norm = RMSNorm(4)
    norm.scale[...] = jnp.array([1.0, 2.0, 3.0, 4.0])
    x_BTD = np.array([[[3.0, -1.0, 2.0, 5.0]]], np.float32)
    expected = x_BTD / np.sqrt(np.mean(x_BTD**2) + 1e-6) * np.array([1, 2, 3, 4])
    np.testing.assert_allclose(norm(x_BTD), expected, rtol=1e-6)


def test_the_norms_statistics_are_float32_for_bfloat16_activations():
    # 300 squared overflows no bfloat16, but the sum of 4096 of them is far beyond its precision.
    x_BTD = jnp.full((1, 1, 4096), 300.0, jnp.bfloat16).at[..., 0].set(1.0)
    normed = RMSNorm(4096)(x_BTD)
    assert normed.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(normed[..., 1:], np.float32), 1.0, atol=0.01)


def test_dropout_keeps_the_mean_and_shares_its_mask_over_the_length():
    x_BTD = jnp.ones((40, 3, 500))
    dropped = np.asarray(dropout(x_BTD, 0.25, jax.random.key(0)))
    np.testing.assert_allclose(dropped.mean(), 1.0, atol=0.02)
    np.testing.assert_allclose((dropped == 0).mean(), 0.25, atol=0.02)
    np.testing.assert_array_equal(dropped[:, 0], dropped[:, 2])
    apart = np.asarray(dropout(x_BTD, 0.25, jax.random.key(0), shared_dim=None))
    assert (apart[:, 0] != apart[:, 2]).any()


def test_nothing_is_dropped_without_a_key():
    x_BTD = jnp.ones((2, 3, 5))
    assert dropout(x_BTD, 0.5, None) is x_BTD


def test_tokens_are_gathered_over_tensor_and_their_gradient_is_sharded():
    x_BTD = jnp.ones((6, 8, 5))
    with jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=1, tensor=4))):
        y_BTD, backward = jax.jit(lambda x_BTD: jax.vjp(shard_tokens, x_BTD))(x_BTD)
        (dx_BTD,) = jax.jit(backward)(y_BTD)
    assert y_BTD.addressable_shards[0].data.shape == (3, 8, 5)
    assert dx_BTD.addressable_shards[0].data.shape == (3, 2, 5)
    np.testing.assert_array_equal(dx_BTD, x_BTD)
