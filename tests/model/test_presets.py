"""Tests t5x_lite/model/presets.py."""

import jax
import pytest
from flax import nnx

from t5x_lite.config import ModelOptions
from t5x_lite.model.presets import presets, resolve_model
from t5x_lite.model.transformer import T5

# Published: the T5 paper's and T5 1.1's checkpoints, counted parameter by parameter.
NUM_PARAMETERS = {
    "t5_small": 60_506_624,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_3b": 2_851_598_336,
    "t5_11b": 11_307_321_344,
    "t5_1_1_small": 76_961_152,
    "t5_1_1_base": 247_577_856,
    "t5_1_1_large": 783_150_080,
    "t5_1_1_xl": 2_849_757_184,
    "t5_1_1_xxl": 11_135_332_352,
}


def test_there_are_ten_presets():
    assert set(presets) == set(NUM_PARAMETERS)


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_a_preset_has_the_published_number_of_parameters(name):
    shapes = jax.eval_shape(lambda: T5(presets[name], rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == NUM_PARAMETERS[name]


def test_options_depart_from_the_preset_where_they_are_given():
    cfg = resolve_model(
        ModelOptions(preset="t5_small", emb_dim=96, dropout_rate=0.25), vocab_size=384, remat="full", platform="cpu"
    )
    assert (cfg.emb_dim, cfg.dropout_rate, cfg.vocab_size, cfg.remat) == (96, 0.25, 384, "full")
    assert (cfg.num_heads, cfg.mlp_activations, cfg.tie_embeddings) == (8, ("relu",), True)


@pytest.mark.parametrize(("platform", "dtype"), [("cpu", "float32"), ("gpu", "bfloat16"), ("tpu", "bfloat16")])
def test_the_compute_dtype_follows_the_platform_unless_it_is_given(platform, dtype):
    def resolved(option):
        return resolve_model(ModelOptions(dtype=option), vocab_size=128, remat="none", platform=platform).dtype

    assert resolved("auto") == dtype
    assert resolved("bfloat16") == "bfloat16"


def test_an_unknown_preset_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"model.preset is 't5_tall': use one of t5_small, .*t5_1_1_xxl"):
        resolve_model(ModelOptions(preset="t5_tall"), vocab_size=128, remat="none", platform="cpu")
