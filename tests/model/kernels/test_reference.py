"""Tests t5x_lite/model/kernels/reference.py"""

import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.model.kernels.reference import attention_weights, reference_attention
from tests.model.kernels.test_attention import N, S, T, mask, normal, queries_keys_values


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_are_float32_and_weight_the_values(dtype):
    q_BTNH, k_BSNH, v_BSNH = (array.astype(dtype) for array in queries_keys_values())
    bias_1NTS, mask_B1TS = normal(3, 1, N, T, S), mask()
    weights_BNTS = attention_weights(q_BTNH, k_BSNH, bias_1NTS, mask_B1TS)
    assert weights_BNTS.dtype == jnp.float32
    attended_BTNH = jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS.astype(dtype), v_BSNH)
    np.testing.assert_array_equal(attended_BTNH, reference_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS))
