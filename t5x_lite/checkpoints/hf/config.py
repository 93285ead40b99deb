# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's `config.json` for the T5 family, to and from a ModelConfig.

The file is unreliable on three points: the weights, not `tie_word_embeddings`, say whether embeddings are tied (see
`embedding.py`); mT5 never scales its logits; and `architectures` names whatever class saved the model.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.config import ModelConfig
from t5x_lite.files.git_lfs import check_downloaded

CONFIG_FILE = "config.json"
ARCHITECTURES = {"t5": "T5ForConditionalGeneration", "mt5": "MT5ForConditionalGeneration"}
ARCHITECTURES["umt5"] = "UMT5ForConditionalGeneration"
SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "emb_dim",
    "num_heads": "num_heads",
    "d_kv": "head_dim",
    "d_ff": "mlp_dim",
    "num_layers": "num_encoder_layers",
}
OPTIONAL_SIZES = {
    "num_decoder_layers": "num_decoder_layers",  # num_layers if absent or null
    "relative_attention_num_buckets": "relative_position_buckets",
    "relative_attention_max_distance": "relative_position_max_distance",
}
MAX_SIZE = 2**31 - 1
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "relu": ("relu",),
    "gelu_new": ("gelu",),
    "silu": ("silu",),
    "gated-gelu": ("gelu", "linear"),
    "gated-gelu_new": ("gelu", "linear"),
    "gated-silu": ("silu", "linear"),
    "gated-relu": ("relu", "linear"),
}
NORM_EPSILON = 1e-6  # as in model/layers.py
FAMILIES = ("UMT5", "MT5", "T5")  # prefixes of class names
ENCODER_CLASSES = ("EncoderModel", "ForTokenClassification")  # after the family; see architecture.py


def read_config(directory: pathlib.Path, *, has_lm_head: bool) -> ModelConfig:
    """Reads the config of a directory whose weights include `lm_head.weight` if `has_lm_head`.

    Raises:
      ValueError: if the model is not of the T5 family, or a field is missing, malformed or unsupported.
    """
    path = directory / CONFIG_FILE
    fields = read_json(path)
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise ValueError(f"{path} has model_type {model_type!r}: use one of {', '.join(ARCHITECTURES)}")
    activation = fields.get("feed_forward_proj", "relu")
    sizes: dict[str, Any] = {ours: _size(path, fields, name) for name, ours in SIZES.items()}
    sizes |= {ours: _size(path, fields, name) for name, ours in OPTIONAL_SIZES.items() if fields.get(name) is not None}
    sizes.setdefault("num_decoder_layers", sizes["num_encoder_layers"])
    epsilon = fields.get("layer_norm_epsilon", NORM_EPSILON)
    if epsilon != NORM_EPSILON:
        raise ValueError(f"{path} has layer_norm_epsilon {epsilon!r}: only {NORM_EPSILON} is supported")
    dropout_rate = fields.get("dropout_rate", 0.1)
    if not isinstance(dropout_rate, int | float) or not 0 <= dropout_rate < 1:
        raise ValueError(f"{path} has dropout_rate {dropout_rate!r}: it must be at least 0 and less than 1")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"{path} has feed_forward_proj {activation!r}: use one of {', '.join(ACTIVATIONS)}")
    return ModelConfig(
        **sizes,
        mlp_activations=ACTIVATIONS[activation],
        tie_embeddings=not has_lm_head,
        scale_logits=_scales_logits(fields),
        relative_bias_per_layer=model_type == "umt5",
        dropout_rate=float(dropout_rate),
    )


def config_fields(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the config.json from which `transformers` builds the same model; raises ValueError if there is none."""
    names = {activations: name for name, activations in ACTIVATIONS.items() if name != "gated-gelu_new"}
    activation = names.get(cfg.mlp_activations)
    if activation is None:
        raise ValueError(
            f"model.mlp_activations is {list(cfg.mlp_activations)}, which Hugging Face's T5 does not support: only "
            f"{', '.join(str(list(known)) for known in names)} can be exported"
        )
    model_type = "umt5" if cfg.relative_bias_per_layer else "t5"
    fields: dict[str, Any] = {
        "architectures": [ARCHITECTURES[model_type]],
        "model_type": model_type,
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "feed_forward_proj": activation,
        "dense_act_fn": "gelu_new" if "gelu" in cfg.mlp_activations else cfg.mlp_activations[0],
        "is_gated_act": len(cfg.mlp_activations) > 1,
        "layer_norm_epsilon": NORM_EPSILON,
        "dropout_rate": cfg.dropout_rate,
        "tie_word_embeddings": cfg.scales_logits,  # transformers scales the logits if true
    }
    return fields | {theirs: getattr(cfg, ours) for theirs, ours in (SIZES | OPTIONAL_SIZES).items()}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object; raises ValueError if the file is missing or holds anything else."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: name a directory that save_pretrained wrote") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        if path.is_file():
            check_downloaded(path)
        raise ValueError(f"{path} cannot be read as JSON ({error}): it is damaged; download it again") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is not a JSON object: it is damaged; download it again")
    return fields


def class_ending(fields: Mapping[str, Any]) -> str | None:
    """Returns the class in a config without its family, such as "EncoderModel"; None if there is no such class."""
    names = fields.get("architectures")
    for name in names if isinstance(names, list) else ():
        family = next((family for family in FAMILIES if str(name).startswith(family)), None)
        if family:
            return str(name).removeprefix(family)
    return None


def _size(path: pathlib.Path, fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 < value <= MAX_SIZE:
        raise ValueError(f"{path} has {name} {value!r}: it must be a whole number above 0")
    return value


def _scales_logits(fields: Mapping[str, Any]) -> bool:
    """Returns whether transformers 4 or 5 scales the decoder's output, given a config that it wrote."""
    if fields["model_type"] == "mt5":
        return False
    if "scale_decoder_outputs" in fields:  # only in version 5, which always ties
        return bool(fields["scale_decoder_outputs"])
    return fields.get("tie_word_embeddings") is not False
