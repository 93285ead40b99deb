# SPDX-License-Identifier: Apache-2.0
"""OpenAI's requests: from JSON to what the model is asked, with a reason for whatever is refused.

Source: OpenAI's API reference, `completions` and `embeddings`.
"""

import dataclasses
import json
import secrets
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import GenerationConfig, ServeConfig
from t5x_lite.config.generation import MOST_BEAMS, MOST_NGRAM
from t5x_lite.inference.engine import check_tokens
from t5x_lite.serving.refusals import Refused

DEFAULT_MAX_TOKENS = 16
MOST_STOPS = 4
MOST_LOG_PROBS = 5
SMALLEST_TOP_P = 1e-6
# OpenAI's fields that ask for what there is not: only what changes nothing is taken.
NEUTRAL = {
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
    "best_of": (None, 1),
    "suffix": (None, ""),
}
FLOATS = {  # lowest and highest
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 0.999),
    "repetition_penalty": (0.01, 100.0),
    "length_penalty": (-100.0, 100.0),
}
COMPLETION_FIELDS = {
    *("model", "prompt", "max_tokens", "n", "stream", "stream_options", "stop", "seed", "logprobs", "echo", "user"),
    *("top_k", "num_beams", "no_repeat_ngram_size", "min_tokens", *FLOATS, *NEUTRAL),
}
EMBEDDING_FIELDS = {"model", "input", "encoding_format", "dimensions", "user"}


class Prompt(NamedTuple):
    """What the model reads."""

    text: str
    ids: list[int]  # and EOS
    num_tokens: int  # that the model reads; a decoder alone reads no EOS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Completion:
    """A request for texts.

    Args:
      prompts: to go on with or answer, one after the other.
      config: how to decode each.
      stops: strings that end a text.
      stream: whether text is sent as it comes.
      include_usage: whether a stream ends with the number of tokens.
      log_probs: whether those of the tokens are wanted.
      echo: whether a text begins with its prompt.
    """

    prompts: list[Prompt]
    config: GenerationConfig
    stops: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    log_probs: bool = False
    echo: bool = False


class Embedding(NamedTuple):
    """A request for vectors."""

    prompts: list[Prompt]
    base64: bool  # of little-endian float32; else lists of numbers


class Served(NamedTuple):
    """What requests are checked against."""

    pretrained: Pretrained
    model_name: str
    options: ServeConfig


def parse_body(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a request.

    Raises:
      Refused: if it is none.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    try:
        fields = json.loads(body.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON ({error}): send one JSON object, in UTF-8") from error
    if not isinstance(fields, dict):
        raise Refused(400, f"the body is a {_json_type(fields)}: send one JSON object")
    return fields


def parse_completion(fields: Mapping[str, Any], served: Served) -> Completion:
    """Returns what a request of /v1/completions asks for.

    Raises:
      Refused: with the field, the value and the remedy.
    """
    _check_names(fields, COMPLETION_FIELDS)
    _check_model(fields, served)
    architecture = served.pretrained.architecture
    if not architecture.traits.decodes:
        raise Refused(400, f"the model is a {architecture.name}, which writes no text: ask /v1/embeddings", "model")
    for field, allowed in NEUTRAL.items():
        if field in fields and fields[field] not in allowed:
            raise Refused(400, f"{field} is {_shown(fields[field])}, which is not supported: leave it out", field)
    _text(fields, "user")
    config = _generation(fields, served)
    log_probs = _integer(fields, "logprobs", None, (0, MOST_LOG_PROBS)) is not None
    echo, stream = _boolean(fields, "echo"), _boolean(fields, "stream")
    if log_probs and (echo or config.num_beams > 1):
        with_what = "echo" if echo else "num_beams above 1"
        raise Refused(400, f"logprobs is given with {with_what}, which has none: leave one of them out", "logprobs")
    return Completion(
        prompts=_prompts(fields, "prompt", served),
        config=config,
        stops=_stops(fields),
        stream=stream,
        include_usage=_include_usage(fields, stream),
        log_probs=log_probs,
        echo=echo,
    )


def parse_embedding(fields: Mapping[str, Any], served: Served) -> Embedding:
    """Returns what a request of /v1/embeddings asks for.

    Raises:
      Refused: with the field, the value and the remedy.
    """
    _check_names(fields, EMBEDDING_FIELDS)
    _check_model(fields, served)
    architecture, emb_dim = served.pretrained.architecture, served.pretrained.config.emb_dim
    if not architecture.traits.has_encoder:
        raise Refused(400, f"the model is a {architecture.name}, which has no encoder: ask /v1/completions", "model")
    _text(fields, "user")
    encoding = fields.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise Refused(400, f"encoding_format is {_shown(encoding)}: use float or base64", "encoding_format")
    if fields.get("dimensions") not in (None, emb_dim):
        message = f"dimensions is {_shown(fields['dimensions'])}, and the model has {emb_dim}: leave it out"
        raise Refused(400, message, "dimensions")
    return Embedding(_prompts(fields, "input", served), encoding == "base64")


def _generation(fields: Mapping[str, Any], served: Served) -> GenerationConfig:
    """Returns how to decode: OpenAI's defaults, and of the model's own settings those that no field names."""
    options, own = served.options, served.pretrained.generation
    num_beams = _integer(fields, "num_beams", 1, (1, min(MOST_BEAMS, options.batch_size)))
    max_tokens = _integer(
        fields, "max_tokens", min(DEFAULT_MAX_TOKENS, options.max_new_tokens), (1, options.max_new_tokens)
    )
    floats = {field: _number(fields, field) for field in FLOATS}
    temperature = floats.pop("temperature")
    if temperature is None:
        temperature = 0.0 if num_beams > 1 else 1.0
    n = _integer(fields, "n", 1, (1, num_beams if num_beams > 1 else options.batch_size))
    if temperature == 0 and n > 1 and num_beams == 1:
        raise Refused(400, f"n is {n} and temperature 0, which has one answer: add temperature or num_beams", "n")
    settings: dict[str, Any] = {"repetition_penalty": own.repetition_penalty, "length_penalty": own.length_penalty}
    settings |= {field: value for field, value in floats.items() if value is not None}
    settings["top_k"] = min(_integer(fields, "top_k", 0, (0, None)), served.pretrained.tokenizer.vocab_size)
    if "top_p" in settings:
        settings["top_p"] = max(settings["top_p"], SMALLEST_TOP_P)
    if temperature == 0:  # draws nothing, whatever clients say of it
        for field in ("top_k", "top_p", "min_p"):
            settings.pop(field, None)
    seed = _integer(fields, "seed", None, (-(2**63), 2**63 - 1))
    ngram = _integer(fields, "no_repeat_ngram_size", own.no_repeat_ngram_size, (0, MOST_NGRAM))
    try:
        config = GenerationConfig(
            max_new_tokens=max_tokens,
            min_new_tokens=_integer(fields, "min_tokens", 0, (0, max_tokens)),
            temperature=temperature,
            seed=secrets.randbits(32) if seed is None else seed % 2**32,
            num_beams=num_beams,
            num_return_sequences=n,
            no_repeat_ngram_size=ngram,
            beam_rules=own.beam_rules,
            forced_prefix=own.forced_prefix,
            banned_tokens=own.banned_tokens,
            stop_tokens=own.stop_tokens,
            **settings,
        )
        forced = served.pretrained.tokenizer.encode(config.forced_prefix) if config.forced_prefix else []
        check_tokens(config, forced, served.pretrained)
    except ValueError as error:
        raise Refused(400, str(error)) from error
    return config


def _prompts(fields: Mapping[str, Any], field: str, served: Served) -> list[Prompt]:
    """Returns the prompts of a text, texts, ids, or lists of ids."""
    given = fields.get(field)
    if given is None:
        raise Refused(400, f"{field} is missing: give a text, or a list of texts", field)
    if isinstance(given, str) or (isinstance(given, list) and given and all(map(_is_integer, given))):
        given = [given]
    if not isinstance(given, list) or not given:
        raise Refused(400, f"{field} is {_shown(given)}: give a text, or a list of texts", field)
    most = served.options.max_queue
    if len(given) > most:
        raise Refused(400, f"{field} has {len(given)} texts: give at most {most} at once", field)
    return [_prompt(item, field, served) for item in given]


def _prompt(item: Any, field: str, served: Served) -> Prompt:
    tokenizer, most = served.pretrained.tokenizer, served.options.max_input_tokens
    if isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise Refused(400, f"{field} has half a surrogate pair: send valid Unicode", field) from error
        text, ids = item, tokenizer.encode(item)
    elif isinstance(item, list) and item and all(map(_is_integer, item)):
        wrong = [i for i in item if not 0 < i < tokenizer.vocab_size]
        if wrong:
            message = f"{field} has the id {wrong[0]}: use ids from 1 to {tokenizer.vocab_size - 1}"
            raise Refused(400, message, field)
        ids = item[:-1] if item[-1] == tokenizer.eos_id else item
        text = tokenizer.decode(ids)
    else:
        raise Refused(400, f"{field} has {_shown(item)}: give texts, or lists of ids", field)
    num_tokens = len(ids) + served.pretrained.architecture.traits.has_encoder
    if num_tokens > most:
        raise Refused(
            400,
            f"{field} has {num_tokens} tokens, and this server reads at most {most}: shorten it",
            field,
            code="context_length_exceeded",
        )
    return Prompt(text, [*ids, tokenizer.eos_id], num_tokens)


def _stops(fields: Mapping[str, Any]) -> tuple[str, ...]:
    given = fields.get("stop")
    stops = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise Refused(400, f"stop is {_shown(given)}: give a text that is not empty, or a list of them", "stop")
    if len(stops) > MOST_STOPS:
        raise Refused(400, f"stop has {len(stops)} texts: give at most {MOST_STOPS}", "stop")
    return tuple(stops)


def _include_usage(fields: Mapping[str, Any], stream: bool) -> bool:
    given = fields.get("stream_options")
    if given is None:
        return False
    if not stream:
        raise Refused(400, "stream_options is given and stream is not true: leave it out", "stream_options")
    if not isinstance(given, dict) or set(given) - {"include_usage", "include_obfuscation"}:
        raise Refused(400, f"stream_options is {_shown(given)}: give an object with include_usage", "stream_options")
    return _boolean(given, "include_usage")


def _check_names(fields: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(set(fields) - set(known))
    if unknown:
        message = f"{_shown(unknown[0])} is no field of this request: use {', '.join(sorted(known))}"
        raise Refused(400, message, unknown[0])


def _check_model(fields: Mapping[str, Any], served: Served) -> None:
    given = fields.get("model")
    if not isinstance(given, str):
        what = "missing" if given is None else _shown(given)
        raise Refused(400, f"model is {what}: use {served.model_name!r}", "model")
    if given != served.model_name:
        message = f"model is {_shown(given)}, and this server has {served.model_name!r}: use that"
        raise Refused(404, message, "model", code="model_not_found")


def _integer(fields: Mapping[str, Any], field: str, default: Any, limits: tuple[int, int | None]) -> Any:
    value = fields.get(field)
    if value is None:
        return default
    low, high = limits
    if not _is_integer(value) or value < low or (high is not None and value > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise Refused(400, f"{field} is {_shown(value)}: use a whole number {wanted}", field)
    return value


def _number(fields: Mapping[str, Any], field: str) -> float | None:
    value, (low, high) = fields.get(field), FLOATS[field]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refused(400, f"{field} is {_shown(value)}: use a number from {low:g} to {high:g}", field)
    return float(value)


def _boolean(fields: Mapping[str, Any], field: str) -> bool:
    value = fields.get(field)
    if value not in (None, True, False) or _is_integer(value) or isinstance(value, float):
        raise Refused(400, f"{field} is {_shown(value)}: use true or false", field)
    return bool(value)


def _text(fields: Mapping[str, Any], field: str) -> None:
    if not isinstance(fields.get(field), str | None):
        raise Refused(400, f"{field} is {_shown(fields[field])}: use a text", field)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _json_type(value: Any) -> str:
    return {list: "list", str: "text", bool: "boolean", type(None): "null"}.get(type(value), "number")
