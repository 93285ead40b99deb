# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import pytest

from t5x_lite.parallel import xla_options


def test_only_a_cpu_gets_options():
    assert xla_options.for_init("tpu") is None
    assert xla_options.for_long_products("gpu") is None


def test_xla_flags_take_precedence(monkeypatch):
    monkeypatch.setattr(jax, "__version__", "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT")
    assert xla_options.for_long_products("cpu") is None
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_onednn=true")
    assert xla_options.for_long_products("cpu") == {xla_options.YNN_FLAG: "LIBRARY_FUSION_TYPE_REDUCE"}


def test_another_jax_keeps_its_own_defaults(monkeypatch):
    monkeypatch.setattr(jax, "__version__", "0.11.1")
    assert xla_options.for_long_products("cpu") is None


def test_a_train_step_leaves_its_products_to_eigen_where_jax_has_the_choice():
    if not jax.__version__.startswith("0.10."):
        pytest.skip(f"jax {jax.__version__} keeps its defaults")
    product = jax.jit(jnp.dot, compiler_options=xla_options.for_long_products("cpu"))
    text = product.lower(jnp.ones((64, 96)), jnp.ones((96, 128))).compile().as_text()
    assert "ynn_fusion" not in text
    assert "dot(" in text


def test_only_for_gpus_that_are_not_here_nothing_is_tried_out():
    assert xla_options.for_absent_gpus("tpu") is None
    assert xla_options.for_absent_gpus("gpu") == {
        "xla_gpu_autotune_level": 0,
        "xla_gpu_enable_triton_gemm": False,
    }
