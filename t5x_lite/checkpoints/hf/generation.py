# SPDX-License-Identifier: Apache-2.0
"""The decoding settings published with a Hugging Face model.

They are in `generation_config.json` or else, in old directories, in `config.json`. None of them prevents a model from
being loaded: there is a warning about those that cannot be followed.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from t5x_lite.checkpoints.hf.config import CONFIG_FILE, eos_ids, read_json
from t5x_lite.config.generation import GenerationConfig

FILE = "generation_config.json"
WHOLE_NUMBER, NUMBER, IDS, IDS_OF_WORDS = "a whole number", "a number", "a list of ids", "a list of lists of ids"
# Settings with the same name and meaning in GenerationConfig.
SAME = {
    **dict.fromkeys(("max_new_tokens", "min_new_tokens", "num_beams", "num_return_sequences"), WHOLE_NUMBER),
    **dict.fromkeys(("length_penalty", "repetition_penalty"), NUMBER),
    "no_repeat_ngram_size": WHOLE_NUMBER,
}
WHEN_SAMPLING = {"top_k": WHOLE_NUMBER} | dict.fromkeys(("temperature", "top_p", "min_p"), NUMBER)
TYPES = {
    **SAME,
    **WHEN_SAMPLING,
    **dict.fromkeys(("max_length", "min_length"), WHOLE_NUMBER),
    "do_sample": "true or false",
    **dict.fromkeys(("eos_token_id", "suppress_tokens"), IDS),
    "bad_words_ids": IDS_OF_WORDS,
}
DEFAULT_TOP_K = 50  # in transformers, when sampling
# Settings without effect on decoding, or with the same value for every T5.
WITHOUT_EFFECT = {
    "_from_model_config",
    "bos_token_id",
    "decoder_start_token_id",  # read with the config
    "do_sample",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "return_dict_in_generate",
    "transformers_version",
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


def read_generation_config(directory: pathlib.Path, *, tell: Callable[[str], object]) -> GenerationConfig | None:
    """Reads a model directory's decoding settings, if any; calls `tell` with a warning about those not followed."""
    path = directory / FILE
    given = _given(path) if path.is_file() else _given_in_config(directory / CONFIG_FILE)
    if not given and not path.is_file():
        return None
    path = path if path.is_file() else directory / CONFIG_FILE
    given = {name: value for name, value in given.items() if value is not None}
    if _is(given.get("eos_token_id"), WHOLE_NUMBER):
        given["eos_token_id"] = [given["eos_token_id"]]
    wrong = {name: given.pop(name) for name, wanted in TYPES.items() if name in given and not _is(given[name], wanted)}
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
        tell(f"{path} sets {', '.join(f'{name} {value!r}' for name, value in unknown.items())}: unsupported, ignored")
    try:
        return GenerationConfig(**fields)
    except ValueError as error:
        tell(f"{path}: {error}; its decoding settings are ignored")
        return GenerationConfig()


def _given_in_config(path: pathlib.Path) -> dict[str, Any]:
    """Returns the decoding settings in a config.json, except for a single EOS, which is part of the model."""
    given = read_json(path) if path.is_file() else {}
    names = {*TYPES, *ONLY, "forced_bos_token_id", "forced_eos_token_id"}
    if len(eos_ids(given)) < 2:
        names.remove("eos_token_id")
    return {name: value for name, value in given.items() if name in names}


def _given(path: pathlib.Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): download it again, or delete it") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path} is not a JSON object: download it again, or delete it")
    return given


def _is(value: Any, wanted: str) -> bool:
    """Returns whether a JSON value has one of the types in `TYPES`."""
    if wanted in (WHOLE_NUMBER, NUMBER):
        return type(value) is int or (wanted == NUMBER and type(value) is float)
    if wanted in (IDS, IDS_OF_WORDS):
        part_type = WHOLE_NUMBER if wanted == IDS else IDS
        return isinstance(value, list) and all(_is(part, part_type) for part in value)
    return isinstance(value, bool)


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
