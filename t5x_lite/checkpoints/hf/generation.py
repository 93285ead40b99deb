# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's `generation_config.json`: how the authors of a model decode with it."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from t5x_lite.config import GenerationConfig

FILE = "generation_config.json"
WHOLE_NUMBER, NUMBER, IDS, IDS_OF_WORDS = "a whole number", "a number", "a list of ids", "a list of lists of ids"
TYPES = {
    "max_new_tokens": WHOLE_NUMBER,
    "min_new_tokens": WHOLE_NUMBER,
    "max_length": WHOLE_NUMBER,
    "min_length": WHOLE_NUMBER,
    "num_beams": WHOLE_NUMBER,
    "num_return_sequences": WHOLE_NUMBER,
    "no_repeat_ngram_size": WHOLE_NUMBER,
    "top_k": WHOLE_NUMBER,
    "length_penalty": NUMBER,
    "repetition_penalty": NUMBER,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "min_p": NUMBER,
    "do_sample": "true or false",
    "eos_token_id": IDS,
    "suppress_tokens": IDS,
    "bad_words_ids": IDS_OF_WORDS,
}
# Under the same names, with the same meaning.
SAME = (
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "num_return_sequences",
    "length_penalty",
    "repetition_penalty",
    "no_repeat_ngram_size",
)
WHEN_SAMPLING = ("temperature", "top_k", "top_p", "min_p")
DEFAULT_TOP_K = 50  # what transformers takes where it draws and the file does not say
# What says nothing about how T5 decodes, or is the same in all of its models.
WITHOUT_EFFECT = {
    "_from_model_config",
    "bos_token_id",
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
# What would change the results, with the only value that is known here.
ONLY = {
    "decoder_start_token_id": 0,
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


def read_generation_config(
    directory: pathlib.Path, *, tell: Callable[[str], object] = lambda line: None
) -> GenerationConfig | None:
    """Returns what a directory's file says, or None if it has none.

    Args:
      directory: a model of Hugging Face's.
      tell: gets a line if the file asks for what there is not here.

    Raises:
      ValueError: if the file is damaged, or contradicts itself.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): download it again, or delete it") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path} holds no JSON object: download it again, or delete it")
    given = {name: value for name, value in given.items() if value is not None}
    if _is(given.get("eos_token_id"), WHOLE_NUMBER):
        given["eos_token_id"] = [given["eos_token_id"]]
    for name, wanted in TYPES.items():
        if name in given and not _is(given[name], wanted):
            raise ValueError(f"{path} has {name} {given[name]!r}, which is not {wanted}: mend the file, or delete it")
    fields: dict[str, Any] = {name: given.pop(name) for name in SAME if name in given}
    sampling = {name: given.pop(name) for name in WHEN_SAMPLING if name in given}
    if given.get("do_sample"):
        fields |= {"temperature": 1.0, "top_k": DEFAULT_TOP_K} | sampling
    fields |= _lengths(given, fields) | _tokens(given)
    if fields.get("num_beams", 1) > 1:
        fields = {"length_penalty": 1.0} | fields | {"beam_variant": "hf"}
    unknown = [name for name, value in given.items() if name not in WITHOUT_EFFECT and ONLY.get(name, ()) != value]
    if unknown:
        tell(f"{path} says {', '.join(f'{name} {given[name]!r}' for name in unknown)}, which is not followed here")
    try:
        return GenerationConfig(**fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; mend the file, or delete it") from error


def _is(value: Any, wanted: str) -> bool:
    """Returns whether a value of JSON is what a key of `TYPES` wants."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if wanted == WHOLE_NUMBER:
        return whole
    if wanted == NUMBER:
        return whole or isinstance(value, float)
    if wanted == IDS:
        return isinstance(value, list) and all(_is(part, WHOLE_NUMBER) for part in value)
    if wanted == IDS_OF_WORDS:
        return isinstance(value, list) and all(_is(part, IDS) for part in value)
    return isinstance(value, bool)


def _lengths(given: dict[str, Any], fields: dict[str, Any]) -> dict[str, int]:
    """Returns limits that count the token that starts the decoder, as limits of new tokens."""
    limits = {"max_new_tokens": given.pop("max_length", None), "min_new_tokens": given.pop("min_length", None)}
    return {name: max(value - 1, 0) for name, value in limits.items() if value is not None and name not in fields}


def _tokens(given: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the ids that end an answer beside the tokenizer's EOS, and those that are never chosen."""
    single_words = [ids for ids in given.get("bad_words_ids", ()) if len(ids) == 1]
    if len(single_words) == len(given.get("bad_words_ids", ())):
        given.pop("bad_words_ids", None)
    banned = [*given.pop("suppress_tokens", ()), *(ids[0] for ids in single_words)]
    return {"stop_tokens": tuple(given.pop("eos_token_id", ())), "banned_tokens": tuple(banned)}
