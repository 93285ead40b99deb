# SPDX-License-Identifier: Apache-2.0
"""The decoding settings published with a Hugging Face model.

They are in `generation_config.json` or else, in old directories, in `config.json`. None of them prevents a model from
being loaded: there is a warning about those that cannot be followed.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from t5x_lite.checkpoints.hf.config import CONFIG_FILE, GENERATION_FILE, eos_ids, id_fields
from t5x_lite.config import ModelConfig
from t5x_lite.config.generation import MOST_NEW_TOKENS, GenerationConfig
from t5x_lite.files.json_object import read_json, read_json_if_there


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_length(value: Any) -> bool:
    return type(value) is int and value <= MOST_NEW_TOKENS


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_whole, value))


# Settings and what tells whether a value has their type. SAME have the same name and meaning in GenerationConfig.
SAME: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("max_new_tokens", "min_new_tokens"), _is_length),
    **dict.fromkeys(("num_beams", "num_return_sequences"), _is_whole),
    **dict.fromkeys(("length_penalty", "repetition_penalty"), _is_number),
    "no_repeat_ngram_size": _is_whole,
}
WHEN_SAMPLING = {"top_k": _is_whole} | dict.fromkeys(("temperature", "top_p", "min_p"), _is_number)
TYPES = {
    **SAME,
    **WHEN_SAMPLING,
    **dict.fromkeys(("max_length", "min_length"), _is_length),
    "do_sample": lambda value: isinstance(value, bool),
    **dict.fromkeys(("eos_token_id", "suppress_tokens"), _are_ids),
    "bad_words_ids": lambda value: isinstance(value, list) and all(map(_are_ids, value)),
}
OF_THE_FILE = ("_from_model_config", "transformers_version")  # how it was made
DEFAULT_TOP_K = 50  # in transformers, when sampling
# Settings without effect on decoding, or with the same value for every T5.
WITHOUT_EFFECT = {
    *OF_THE_FILE,
    "bos_token_id",
    "decoder_start_token_id",  # read with the config
    "do_sample",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "return_dict_in_generate",
    "use_cache",
}
# Settings that affect the results, with the only supported value.
ONLY = {
    "diversity_penalty": 0.0,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_beam_groups": 1,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "typical_p": 1.0,
}


def read_generation_config(directory: pathlib.Path, *, tell: Callable[[str], object]) -> GenerationConfig:
    """Reads a model directory's decoding settings; calls `tell` with a warning about those not followed."""
    given, path = published_settings(directory), directory / GENERATION_FILE
    path = path if path.is_file() else directory / CONFIG_FILE
    if _is_whole(given.get("eos_token_id")):
        given["eos_token_id"] = [given["eos_token_id"]]
    wrong = {name: given.pop(name) for name, has_type in TYPES.items() if name in given and not has_type(given[name])}
    fields: dict[str, Any] = {name: given.pop(name) for name in SAME if name in given}
    sampling = {name: given.pop(name) for name in WHEN_SAMPLING if name in given}
    if given.get("do_sample"):
        fields |= {"temperature": 1.0, "top_k": DEFAULT_TOP_K} | sampling
    fields |= _lengths(given, fields) | _tokens(given)
    if fields.get("num_beams", 1) > 1:
        fields = {"length_penalty": 1.0} | fields | {"beam_variant": "hf"}
    unknown = {name: value for name, value in given.items() if name not in WITHOUT_EFFECT}
    unknown = wrong | {name: value for name, value in unknown.items() if ONLY.get(name, ()) != value}
    if unknown:
        settings = ", ".join(f"{name} {value!r:.80}" for name, value in unknown.items())
        tell(f"{path} sets {settings}: unsupported, ignored")
    try:
        return GenerationConfig(**fields)
    except ValueError as error:
        tell(f"{path}: {error}; its decoding settings are ignored")
        return GenerationConfig()


def published_settings(directory: pathlib.Path) -> dict[str, Any]:
    """Returns the decoding settings of a directory, under Hugging Face's names, without those that are null."""
    path = directory / GENERATION_FILE
    given = read_json(path) if path.is_file() else _in_config(read_json_if_there(directory / CONFIG_FILE))
    return {name: value for name, value in given.items() if value is not None}


def settings_fields(cfg: ModelConfig, published: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the generation_config.json of a model, given the settings published with it."""
    fields = {name: value for name, value in published.items() if name not in OF_THE_FILE} | id_fields(cfg)
    if cfg.eos_id in eos_ids(published):
        fields["eos_token_id"] = published["eos_token_id"]
    return dict(sorted(fields.items()))


def _in_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the decoding settings in a config.json, except for a single EOS, which is part of the model."""
    names = {*TYPES, *ONLY, "forced_bos_token_id", "forced_eos_token_id"}
    if len(eos_ids(fields)) < 2:
        names.remove("eos_token_id")
    return {name: value for name, value in fields.items() if name in names}


def _lengths(given: dict[str, Any], fields: dict[str, Any]) -> dict[str, int]:
    """Converts length limits, which count the decoder's start token, to limits on new tokens."""
    limits = {"max_new_tokens": given.pop("max_length", None), "min_new_tokens": given.pop("min_length", None)}
    return {name: max(value - 1, 0) for name, value in limits.items() if value is not None and name not in fields}


def _tokens(given: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Converts EOS ids to stop tokens, and suppressed tokens and one-token bad words to banned tokens."""
    single_words = [ids for ids in given.get("bad_words_ids", ()) if len(ids) == 1]
    if len(single_words) == len(given.get("bad_words_ids", ())):
        given.pop("bad_words_ids", None)
    banned = [*given.pop("suppress_tokens", ()), *(ids[0] for ids in single_words)]
    return {"stop_tokens": tuple(given.pop("eos_token_id", ())), "banned_tokens": tuple(banned)}
