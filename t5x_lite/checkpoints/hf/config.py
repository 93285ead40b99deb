# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's `config.json` for the T5 family, to and from a ModelConfig.

The file is unreliable on three points: the weights, not `tie_word_embeddings`, say whether embeddings are tied (see
`embedding.py`); mT5 never scales its logits; and `architectures` names whatever class saved the model.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.config import ModelConfig
from t5x_lite.files.json_object import read_json, read_json_if_there

CONFIG_FILE = "config.json"
ARCHITECTURES = {name.lower(): f"{name}ForConditionalGeneration" for name in ("T5", "MT5", "UMT5")}  # by model_type
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
# transformers' names of activations. All tanh approximations of GELU are one function up to rounding.
ACTIVATIONS: Mapping[str, str] = {
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu_exact",
    "gelu_python": "gelu_exact",
    "gelu_new": "gelu",
    "gelu_accurate": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "linear": "linear",
}
NAMES = {"relu": "relu", "silu": "silu", "gelu_exact": "gelu", "gelu": "gelu_new", "linear": "linear"}
GENERATION_FILE = "generation_config.json"


def read_config(directory: pathlib.Path, *, has_lm_head: bool) -> ModelConfig:
    """Reads the config of a directory whose weights include `lm_head.weight` if `has_lm_head`.

    Raises:
      ValueError: if the model is not of the T5 family, or a field is missing, malformed or unsupported.
    """
    path = directory / CONFIG_FILE
    fields = read_json(path)
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise ValueError(f"{path} has model_type {model_type!r:.80}: use one of {', '.join(ARCHITECTURES)}")
    sizes: dict[str, Any] = {ours: _size(path, fields, name) for name, ours in SIZES.items()}
    sizes |= {ours: _size(path, fields, name) for name, ours in OPTIONAL_SIZES.items() if fields.get(name) is not None}
    sizes.setdefault("num_decoder_layers", sizes["num_encoder_layers"])
    epsilon = fields.get("layer_norm_epsilon", ModelConfig.norm_epsilon)
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ValueError(f"{path} has layer_norm_epsilon {epsilon!r:.80}: it must be above 0 and less than 1")
    dropout_rate = fields.get("dropout_rate", 0.1)
    if not isinstance(dropout_rate, int | float) or not 0 <= dropout_rate < 1:
        raise ValueError(f"{path} has dropout_rate {dropout_rate!r:.80}: it must be at least 0 and less than 1")
    return ModelConfig(
        **sizes,
        mlp_activations=_activations(path, fields),
        tie_embeddings=not has_lm_head,
        scale_logits=_scales_logits(fields),
        relative_bias_per_layer=model_type == "umt5",
        dropout_rate=float(dropout_rate),
        norm_epsilon=epsilon,
        **_special_ids(directory, fields),
    )


def config_fields(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the config.json from which `transformers` builds the same model; raises ValueError if there is none."""
    first, *rest = cfg.mlp_activations
    if rest not in ([], ["linear"]):
        raise ValueError(
            f"model.mlp_activations is {list(cfg.mlp_activations)}, which Hugging Face's T5 does not support: only "
            "one activation, or one and linear, can be exported"
        )
    activation = NAMES[first]
    model_type = "umt5" if cfg.relative_bias_per_layer else "t5"
    fields: dict[str, Any] = {
        "architectures": [ARCHITECTURES[model_type]],
        "model_type": model_type,
        "is_encoder_decoder": True,
        **id_fields(cfg),
        # transformers 4 and 5 take dense_act_fn from here, where gated-gelu alone means gelu_new.
        "feed_forward_proj": ("gated-gelu" if "gelu" in activation else f"gated-{activation}") if rest else activation,
        "dense_act_fn": activation,
        "is_gated_act": bool(rest),
        "layer_norm_epsilon": cfg.norm_epsilon,
        "dropout_rate": cfg.dropout_rate,
        "tie_word_embeddings": cfg.scales_logits,  # transformers scales the logits if true
    }
    return fields | {theirs: getattr(cfg, ours) for theirs, ours in (SIZES | OPTIONAL_SIZES).items()}


def id_fields(cfg: ModelConfig) -> dict[str, int]:
    """Returns the special ids under their names in config.json."""
    return {"pad_token_id": cfg.pad_id, "eos_token_id": cfg.eos_id, "decoder_start_token_id": cfg.start_id}


def eos_ids(fields: Mapping[str, Any]) -> list[Any]:
    """Returns the ids that end a sequence, given a config.json or generation_config.json; empty if it has none."""
    value = fields.get("eos_token_id")
    return value if isinstance(value, list) else [] if value is None else [value]


def _size(path: pathlib.Path, fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 < value <= MAX_SIZE:
        raise ValueError(f"{path} has {name} {value!r:.80}: it must be a whole number above 0")
    return value


def _scales_logits(fields: Mapping[str, Any]) -> bool:
    """Returns whether transformers 4 or 5 scales the decoder's output, given a config that it wrote."""
    if fields["model_type"] == "mt5":
        return False
    if "scale_decoder_outputs" in fields:  # only in version 5, which always ties
        return bool(fields["scale_decoder_outputs"])
    return fields.get("tie_word_embeddings") is not False


def _activations(path: pathlib.Path, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the activations as transformers reads them: `dense_act_fn` and `is_gated_act` take precedence."""
    usual = "relu" if fields["model_type"] == "t5" else "gated-gelu"
    proj, exact = fields.get("feed_forward_proj", usual), fields.get("dense_act_fn")
    kind, _, last = str(proj).rpartition("-")
    if not isinstance(proj, str) or kind not in ("", "gated") or (exact is None and last not in ACTIVATIONS):
        names = ", ".join(ACTIVATIONS)
        raise ValueError(f"{path} has feed_forward_proj {proj!r:.80}: use one of {names}, or gated- and one of them")
    name = exact or ("gelu_new" if proj == "gated-gelu" else last)
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"{path} has dense_act_fn {exact!r:.80}: use one of {', '.join(ACTIVATIONS)}")
    is_gated = fields.get("is_gated_act", kind == "gated")
    return (ACTIVATIONS[name], "linear") if is_gated else (ACTIVATIONS[name],)


def _special_ids(directory: pathlib.Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the model's special ids, for ModelConfig.

    The decoder starts with the id in generation_config.json, as in transformers, or else with that in config.json.
    """
    generation = read_json_if_there(directory / GENERATION_FILE)
    found = {"pad_id": fields.get("pad_token_id"), "eos_id": next(iter(eos_ids(fields)), None)}
    names = ("decoder_start_token_id", "bos_token_id")
    starts = [given.get(name) for name in names for given in (generation, fields)]
    if fields["model_type"] != "t5":  # the decoders of mT5 and umT5 start with 0 by default
        starts.insert(2, 0)
    found["start_id"] = next((start for start in starts if start is not None), found["pad_id"])
    for value, theirs in zip(found.values(), ("pad_token_id", "eos_token_id", names[0]), strict=True):
        if value is not None and (type(value) is not int or not 0 <= value < fields["vocab_size"]):
            raise ValueError(f"{directory} has {theirs} {value!r:.80}: it must be an id below {fields['vocab_size']}")
    return {name: value for name, value in found.items() if value is not None}
