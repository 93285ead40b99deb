"""Tests t5x_lite/model/presets.py"""

import functools

import jax
import pytest
from flax import nnx

from t5x_lite.config import ModelConfig, ModelOptions, TrainConfig
from t5x_lite.model.presets import presets, resolve_model
from t5x_lite.model.transformer import T5

# Published: the checkpoints' shapes, counted parameter by parameter. umT5 is mT5 with its own vocabulary and, in each
# stack, a table of 32 buckets a head in every layer in place of one.
T5_1_1 = {
    "small": 76_961_152,
    "base": 247_577_856,
    "large": 783_150_080,
    "xl": 2_849_757_184,
    "xxl": 11_135_332_352,
}
NUM_PARAMETERS = {
    "t5_small": 60_506_624,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_3b": 2_851_598_336,
    "t5_11b": 11_307_321_344,
    **{f"t5_1_1_{size}": number for size, number in T5_1_1.items()},
    **{f"t5_1_1_{size}_lm": number for size, number in T5_1_1.items()},
    **{f"flan_t5_{size}": number for size, number in T5_1_1.items()},
    "mt5_small": 300_176_768,
    "mt5_base": 582_401_280,
    "mt5_large": 1_229_581_312,
    "mt5_xl": 3_742_619_648,
    "mt5_xxl": 12_921_057_280,
    "umt5_small": 300_176_768 + 2 * 512 * (256_384 - 250_112) + 2 * 7 * 6 * 32,
    "umt5_base": 582_401_280 + 2 * 768 * (256_384 - 250_112) + 2 * 11 * 12 * 32,
    "umt5_xl": 3_742_619_648 + 2 * 2_048 * (256_384 - 250_112) + 2 * 23 * 32 * 32,
    "umt5_xxl": 12_921_057_280 + 2 * 4_096 * (256_384 - 250_112) + 2 * 23 * 64 * 32,
    "byt5_small": 299_637_760,
    "byt5_base": 581_653_248,
    "byt5_large": 1_228_183_552,
    "byt5_xl": 3_737_801_728,
    "byt5_xxl": 12_906_899_328,
    "ul2": 19_459_613_696,
    "flan_ul2": 19_459_613_696,
}


@functools.cache  # several presets are one architecture
def num_parameters(cfg: ModelConfig) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))))


def test_the_whole_family_is_there():
    assert set(presets) == set(NUM_PARAMETERS)
    assert len(presets) == 36


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_a_preset_has_the_published_number_of_parameters(name):
    assert num_parameters(presets[name]) == NUM_PARAMETERS[name]


# D, N, H, F, V and the depths, as the published files have them: a count alone does not tell N from H.
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("t5_3b", (1_024, 32, 128, 16_384, 32_128, 24, 24)),
        ("t5_11b", (1_024, 128, 128, 65_536, 32_128, 24, 24)),
        ("flan_t5_small", (512, 6, 64, 1_024, 32_128, 8, 8)),
        ("mt5_xl", (2_048, 32, 64, 5_120, 250_112, 24, 24)),
        ("umt5_xxl", (4_096, 64, 64, 10_240, 256_384, 24, 24)),
        ("byt5_small", (1_472, 6, 64, 3_584, 384, 12, 4)),
        ("byt5_base", (1_536, 12, 64, 3_968, 384, 18, 6)),
        ("byt5_large", (1_536, 16, 64, 3_840, 384, 36, 12)),
        ("byt5_xxl", (4_672, 64, 64, 12_352, 384, 36, 12)),
        ("ul2", (4_096, 16, 256, 16_384, 32_128, 32, 32)),
    ],
)
def test_a_preset_has_the_published_shape(name, shape):
    cfg = presets[name]
    sizes = (cfg.emb_dim, cfg.num_heads, cfg.head_dim, cfg.mlp_dim, cfg.vocab_size)
    assert (*sizes, cfg.num_encoder_layers, cfg.num_decoder_layers) == shape


# The activations, whether logits come from the input embedding and are scaled, whether every layer has its own position
# biases, and the dropout of pretraining.
@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("t5_1_1_", (("gelu", "linear"), False, False, False, 0.0)),
        ("flan_t5_", (("gelu", "linear"), False, False, False, 0.0)),
        ("mt5_", (("gelu", "linear"), False, False, False, 0.0)),
        ("umt5_", (("gelu", "linear"), False, False, True, 0.0)),
        ("byt5_", (("gelu", "linear"), False, False, False, 0.0)),
        ("ul2", (("silu", "linear"), True, True, False, 0.0)),
        ("flan_ul2", (("silu", "linear"), True, True, False, 0.0)),
        ("t5_", (("relu",), True, True, False, 0.1)),
    ],
)
def test_all_of_a_family_compute_alike(start, kind):
    found = [cfg for name, cfg in presets.items() if name.startswith(start) and not name.startswith(start + "1_1_")]
    assert found
    for cfg in found:
        shared = (cfg.mlp_activations, cfg.tie_embeddings, cfg.scales_logits)
        assert (*shared, cfg.relative_bias_per_layer, cfg.dropout_rate) == kind


def test_options_depart_from_the_preset_where_they_are_given():
    cfg = resolve_model(
        ModelOptions(preset="t5_small", emb_dim=96, dropout_rate=0.25),
        vocab_size=384,
        train=TrainConfig(remat="full"),
        platform="cpu",
    )
    assert (cfg.emb_dim, cfg.dropout_rate, cfg.vocab_size, cfg.remat) == (96, 0.25, 384, "full")
    assert (cfg.num_heads, cfg.mlp_activations, cfg.tie_embeddings) == (8, ("relu",), True)


def test_a_run_has_its_tokenizer_s_vocabulary_and_the_preset_s_architecture():
    cfg = resolve_model(ModelOptions(preset="umt5_small"), vocab_size=640, train=TrainConfig(), platform="cpu")
    assert (cfg.vocab_size, cfg.relative_bias_per_layer, presets["umt5_small"].vocab_size) == (640, True, 256_384)


@pytest.mark.parametrize(("platform", "dtype"), [("cpu", "float32"), ("gpu", "bfloat16"), ("tpu", "bfloat16")])
def test_the_compute_dtype_follows_the_platform_unless_it_is_given(platform, dtype):
    def resolved(option):
        return resolve_model(ModelOptions(dtype=option), vocab_size=128, train=TrainConfig(), platform=platform).dtype

    assert resolved("auto") == dtype
    assert resolved("bfloat16") == "bfloat16"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("t5_smal", r"use one of t5_small, .*; `t5x-lite models` lists all"),
        ("gpt", r"use one of t5_small, .*t5_1_1_xxl, .*flan_ul2"),
    ],
)
def test_an_unknown_preset_is_refused_with_the_nearest_names_or_all(name, remedy):
    with pytest.raises(ValueError, match=rf"^model.preset is '{name}': {remedy}$"):
        resolve_model(ModelOptions(preset=name), vocab_size=128, train=TrainConfig(), platform="cpu")
