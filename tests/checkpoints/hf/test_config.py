"""Tests t5x_lite/checkpoints/hf/config.py"""

import dataclasses
import json

import pytest

from t5x_lite.checkpoints.hf.config import config_fields, read_config
from t5x_lite.config import ModelConfig
from t5x_lite.model.presets import presets
from tests import tiny
from tests.checkpoints.hf import published

# Without what transformers adds to the activation, and without padding.
FLAN_T5_SMALL = {
    name: value
    for name, value in published.CONFIGS["flan_t5_small"][0].items()
    if name not in ("dense_act_fn", "is_gated_act", "pad_token_id")
}


def read(directory, fields, *, has_lm_head=True):
    (directory / "config.json").write_text(json.dumps(fields))
    return read_config(directory, has_lm_head=has_lm_head)


@pytest.mark.parametrize("preset", published.CONFIGS)
def test_a_published_config_is_its_preset(tmp_path, preset):
    fields, has_lm_head = published.CONFIGS[preset]
    cfg = read(tmp_path, fields, has_lm_head=has_lm_head)
    expected = dataclasses.replace(presets[preset], dropout_rate=0.1)
    assert dataclasses.replace(cfg, scale_logits=None) == expected
    assert cfg.scales_logits == expected.scales_logits


def test_other_published_configs_differ_from_presets_as_their_models_do(tmp_path):
    aya = read(tmp_path, published.AYA_101)
    assert aya == dataclasses.replace(presets["mt5_xxl"], dropout_rate=0.1, scale_logits=False)
    ul2 = read(tmp_path, published.FLAN_UL2)  # transformers has the logits' kernel apart, with the embedding's values
    expected = dataclasses.replace(presets["flan_ul2"], dropout_rate=0.1, tie_embeddings=False, scale_logits=False)
    assert ul2 == expected
    madlad = read(tmp_path, published.MADLAD_400_3B)
    assert (madlad.pad_id, madlad.eos_id, madlad.start_id, madlad.head_dim) == (1, 2, 0, 128)
    assert (madlad.vocab_size, madlad.num_decoder_layers, madlad.scales_logits) == (256_000, 32, False)


def test_t5_1_0_is_what_its_old_and_short_config_says(tmp_path):
    fields = {"model_type": "t5", "vocab_size": 32128, "d_model": 512, "num_heads": 8, "d_kv": 64, "d_ff": 2048}
    cfg = read(tmp_path, fields | {"num_layers": 6}, has_lm_head=False)
    assert dataclasses.replace(cfg, scale_logits=None) == presets["t5_small"]
    assert cfg.scales_logits


def test_mt5_never_scales_logits_and_umt5_has_a_table_a_layer(tmp_path):
    cfg = read(tmp_path, FLAN_T5_SMALL | {"model_type": "mt5", "architectures": None, "tie_word_embeddings": True})
    assert (cfg.scales_logits, cfg.relative_bias_per_layer) == (False, False)
    cfg = read(tmp_path, FLAN_T5_SMALL | {"model_type": "umt5", "architectures": None})
    assert (cfg.scales_logits, cfg.relative_bias_per_layer) == (False, True)


def test_what_version_5_writes_of_scaling_is_believed(tmp_path):
    fields = FLAN_T5_SMALL | {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    assert not read(tmp_path, fields).scales_logits


@pytest.mark.parametrize(
    "names",
    [["T5WithLMHeadModel"], ["T5Model"], ["MT5ForConditionalGeneration"], ["MyT5", "T5Model"], "T5Model", [], None],
)
def test_any_class_name_is_read_by_its_model_type(tmp_path, names):
    expected = read(tmp_path, FLAN_T5_SMALL)
    assert read(tmp_path, FLAN_T5_SMALL | {"architectures": names}) == expected
    for model_type in ("mt5", "umt5"):
        cfg = read(tmp_path, FLAN_T5_SMALL | {"model_type": model_type, "architectures": names})
        assert cfg == read(tmp_path, FLAN_T5_SMALL | {"model_type": model_type, "architectures": ["x"]})


@pytest.mark.parametrize("version", tiny.FAMILY)
def test_a_config_is_the_same_after_it_was_written_and_read(tmp_path, version):
    cfg = tiny.FAMILY[version]
    again = read(tmp_path, config_fields(cfg), has_lm_head=not cfg.tie_embeddings)
    assert dataclasses.replace(again, scale_logits=cfg.scale_logits) == cfg
    assert again.scales_logits == cfg.scales_logits


def test_a_model_hugging_face_does_not_have_is_not_written():
    with pytest.raises(ValueError, match=r"model.mlp_activations is \['linear', 'silu'\]"):
        config_fields(ModelConfig(mlp_activations=("linear", "silu")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "has model_type 'bert': use one of t5, mt5, umt5"),
        ({"model_type": ["t5"]}, "has model_type"),
        ({"d_model": None}, "has d_model None: it must be a whole number above 0"),
        ({"d_model": "512"}, "has d_model '512'"),
        ({"num_heads": True}, "has num_heads True"),
        ({"vocab_size": -1}, "has vocab_size -1"),
        ({"num_layers": 2**63}, "has num_layers 9223372036854775808"),
        ({"relative_attention_num_buckets": 1.5}, "has relative_attention_num_buckets 1.5"),
        ({"layer_norm_epsilon": 0.0}, "has layer_norm_epsilon 0.0"),
        ({"layer_norm_epsilon": "1e-5"}, "has layer_norm_epsilon '1e-5'"),
        ({"feed_forward_proj": "gated-mish"}, "has feed_forward_proj 'gated-mish': use one of relu,"),
        ({"feed_forward_proj": "odd-relu"}, "has feed_forward_proj 'odd-relu': use one of relu,"),
        ({"feed_forward_proj": "gelu", "dense_act_fn": "tanh"}, "has dense_act_fn 'tanh': use one of relu,"),
        ({"feed_forward_proj": ["relu"]}, "has feed_forward_proj"),
        ({"dense_act_fn": {"relu": 1}}, "has dense_act_fn {'relu': 1}: use one of relu,"),
        ({"pad_token_id": -1}, "has pad_token_id -1: it must be an id below 32128"),
        ({"eos_token_id": 32_128}, "has eos_token_id 32128"),
        ({"eos_token_id": ["</s>"]}, "has eos_token_id '</s>'"),
        ({"decoder_start_token_id": True}, "has decoder_start_token_id True"),
        ({"dropout_rate": "none"}, "has dropout_rate 'none'"),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, FLAN_T5_SMALL | change)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "cannot be read as JSON"), (b"\xff", "cannot be read as JSON"), (b"[1]", "is not a JSON object")],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path, has_lm_head=True)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config.json does not exist"):
        read_config(tmp_path, has_lm_head=True)


IDS = {"pad_token_id": 3, "eos_token_id": 5, "decoder_start_token_id": 7}


def test_special_ids_are_read_and_given_back(tmp_path):
    cfg = read(tmp_path, FLAN_T5_SMALL | IDS)
    assert (cfg.pad_id, cfg.eos_id, cfg.start_id) == (3, 5, 7)
    assert IDS.items() <= config_fields(cfg).items()


@pytest.mark.parametrize(
    ("fields", "generation", "start_id"),
    [
        ({"decoder_start_token_id": 7}, None, 7),
        ({"decoder_start_token_id": 7}, {"eos_token_id": 1}, 7),
        ({"decoder_start_token_id": 7}, {"decoder_start_token_id": 9}, 9),  # with which transformers decodes
        ({"decoder_start_token_id": None}, {"decoder_start_token_id": 9}, 9),
        ({"decoder_start_token_id": None, "bos_token_id": 4}, None, 4),
        ({"decoder_start_token_id": None, "pad_token_id": 6}, None, 6),  # T5's convention
        ({"decoder_start_token_id": None, "pad_token_id": 6, "model_type": "mt5"}, None, 0),  # the class's default
        ({"decoder_start_token_id": 0, "bos_token_id": 4}, None, 0),
    ],
)
def test_the_decoder_starts_as_in_transformers(tmp_path, fields, generation, start_id):
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    fields = {name: value for name, value in (FLAN_T5_SMALL | fields).items() if name != "architectures"}
    assert read(tmp_path, fields).start_id == start_id


def test_the_first_of_several_eos_ids_ends_a_sequence(tmp_path):
    assert read(tmp_path, FLAN_T5_SMALL | {"eos_token_id": [5, 9]}).eos_id == 5


@pytest.mark.parametrize(
    ("fields", "activations"),
    [
        ({"feed_forward_proj": "gated-gelu"}, ("gelu", "linear")),
        ({"feed_forward_proj": "gated-gelu_new"}, ("gelu", "linear")),
        ({"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"}, ("gelu_exact", "linear")),
        ({"feed_forward_proj": "gated-silu"}, ("silu", "linear")),
        ({"feed_forward_proj": "gated-swish"}, ("silu", "linear")),
        ({"feed_forward_proj": "gelu"}, ("gelu_exact",)),
        ({"feed_forward_proj": "gelu_pytorch_tanh"}, ("gelu",)),
        ({"feed_forward_proj": "relu", "dense_act_fn": "silu", "is_gated_act": True}, ("silu", "linear")),
        ({"feed_forward_proj": "gated-relu", "is_gated_act": False}, ("relu",)),
        ({}, ("relu",)),
        ({"model_type": "umt5"}, ("gelu", "linear")),
    ],
)
def test_activations_are_those_of_transformers(tmp_path, fields, activations):
    names = ("feed_forward_proj", "dense_act_fn", "is_gated_act", "architectures")
    rest = {name: value for name, value in FLAN_T5_SMALL.items() if name not in names}
    cfg = read(tmp_path, rest | fields)
    assert cfg.mlp_activations == activations
    assert read(tmp_path, {"model_type": "t5"} | config_fields(cfg)).mlp_activations == activations


def test_another_epsilon_is_read_and_given_back(tmp_path):
    cfg = read(tmp_path, FLAN_T5_SMALL | {"layer_norm_epsilon": 1e-5})
    assert cfg.norm_epsilon == config_fields(cfg)["layer_norm_epsilon"] == 1e-5
