# SPDX-License-Identifier: Apache-2.0
"""Requests, replies and errors of OpenAI's completions, embeddings and models endpoints, as pydantic models.

Source: OpenAI's API reference. Shape letters: D embedding.
"""

import base64
import dataclasses
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.commands import ServeConfig
from t5x_lite.config.encoding import EncodingConfig
from t5x_lite.config.generation import MOST_BEAMS, MOST_NGRAM, GenerationConfig
from t5x_lite.inference.encode import make_plan
from t5x_lite.inference.engine import check_tokens
from t5x_lite.serving.choices import Delta

DEFAULT_MAX_TOKENS = 16  # OpenAI's
EMBEDDING_FIELD = "input"  # of an embeddings request
MOST_EMBEDDINGS = 2048  # per request; OpenAI's maximum
SMALLEST_TOP_P = 1e-6
ERROR_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
ERROR_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 504: "timeout", 408: "timeout", 503: "unavailable"}
RETRY_AFTER_SECONDS = {429: 1, 503: 5}


class RequestError(Exception):
    """An error to send to the client.

    `param` is the name of the invalid field; `code` is a machine-readable reason, by default that of the status.
    """

    def __init__(self, status: int, message: str, param: str | None = None, *, code: str | None = None):
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or ERROR_CODES.get(status)

    @property
    def body(self) -> dict[str, Any]:
        """The response body, in OpenAI's format."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = ERROR_TYPES.get(self.status, default)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The response headers: when to retry, or how to authenticate."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        seconds = RETRY_AFTER_SECONDS.get(self.status)
        return {} if seconds is None else {"Retry-After": str(seconds)}


class Served(NamedTuple):
    """Context for validating requests."""

    pretrained: Pretrained
    model_name: str
    options: ServeConfig


class Prompt(NamedTuple):
    """A tokenised prompt."""

    text: str
    ids: list[int]  # EOS included
    num_tokens: int  # read by the model; decoder-only models read no EOS


def _check_model(name: str, info: ValidationInfo) -> str:
    served: Any = info.context
    if name != served.model_name:
        message = f"model is {shown(name)}: this server has {served.model_name!r}"
        raise RequestError(404, message, "model", code="model_not_found")
    return name


def _tokenize_prompts(given: Any, info: ValidationInfo) -> list[Prompt]:
    """Tokenises a string or a list of strings; also accepts a list of ids, or of lists of ids."""
    served: Any = info.context
    field = str(info.field_name)
    limit = MOST_EMBEDDINGS if field == EMBEDDING_FIELD else served.options.max_queue
    if isinstance(given, str) or (isinstance(given, list) and given and all(map(_is_id, given))):
        given = [given]
    if not isinstance(given, list) or not given:
        raise RequestError(400, f"{field} is {shown(given)}: give a string, or a list of strings", field)
    if len(given) > limit:
        raise RequestError(400, f"{field} has {len(given)} items: give at most {limit} at once", field)
    return [_tokenize(item, field, served) for item in given]


def _tokenize(item: Any, field: str, served: Served) -> Prompt:
    tokenizer, limit = served.pretrained.tokenizer, served.options.max_input_tokens
    head = served.pretrained.head if field == EMBEDDING_FIELD else None
    if head is not None:
        limit = min(limit, head.max_tokens or limit)
    if isinstance(item, str):
        text, ids = item, tokenizer.encode(head.prompt + item if head else item)
    elif isinstance(item, list) and item and all(map(_is_id, item)):
        wrong = [i for i in item if not 0 <= i < tokenizer.vocab_size or i == tokenizer.pad_id]
        if wrong:
            first = int(tokenizer.pad_id == 0)
            message = f"{field} has the id {wrong[0]}: use ids from {first} to {tokenizer.vocab_size - 1}"
            message += "" if first else f", except for padding, {tokenizer.pad_id}"
            raise RequestError(400, message, field)
        ids = item[:-1] if item[-1] == tokenizer.eos_id else item
        text = tokenizer.decode(ids)
    else:
        raise RequestError(400, f"{field} has the item {shown(item)}: give strings, or lists of ids", field)
    architecture = served.pretrained.architecture
    num_tokens = len(ids) + (architecture.traits.has_encoder or architecture.keeps_eos)
    if num_tokens > limit:
        reader = "this model" if limit < served.options.max_input_tokens else "this server"
        message = f"{field} has {num_tokens} tokens, but {reader} reads at most {limit}: shorten it"
        raise RequestError(400, message, field, code="context_length_exceeded")
    return Prompt(text, [*ids, tokenizer.eos_id], num_tokens)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


ModelName = Annotated[str, AfterValidator(_check_model)]
Prompts = Annotated[list[Prompt], PlainValidator(_tokenize_prompts)]
Stops = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(max_length=4),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class RequestBody(BaseModel, strict=True, extra="forbid", allow_inf_nan=False):
    """A JSON object with strict types and no unknown fields; null fields count as absent."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None or name not in cls.model_fields}


class StreamOptions(RequestBody):
    """Options of a streamed completion."""

    include_usage: bool = False
    include_obfuscation: Any = None  # ignored


class Generation(RequestBody):
    """Fields of the requests that generate text."""

    model: ModelName
    max_tokens: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float = Field(1.0, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stops = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str = ""
    # Extensions.
    num_beams: int = Field(1, ge=1, le=MOST_BEAMS)
    min_tokens: int = Field(0, ge=0)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=0.999)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    length_penalty: float | None = Field(None, ge=-100, le=100)
    no_repeat_ngram_size: int | None = Field(None, ge=0, le=MOST_NGRAM)
    # Not supported: only values without effect are accepted.
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0
    logit_bias: dict[str, Any] = Field({}, max_length=0)

    @model_validator(mode="after")
    def _check_stream(self) -> "Generation":
        if "stream_options" in self.model_fields_set and not self.stream:
            raise RequestError(400, "stream_options is given without stream: leave it out", "stream_options")
        return self


class CompletionRequest(Generation):
    """Body of POST /v1/completions."""

    prompt: Prompts
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool = False
    best_of: int = Field(1, ge=1)  # 1, or `n`
    suffix: Literal[""] = ""  # not supported

    @model_validator(mode="after")
    def _check_combinations(self) -> "CompletionRequest":
        if self.best_of not in (1, self.n):
            message = f"best_of is {self.best_of}: use n, {self.n}, or leave it out"
            raise RequestError(400, message, "best_of")
        if self.logprobs is not None and self.num_beams > 1:
            message = "logprobs is given with num_beams above 1, which does not return any: leave out one of them"
            raise RequestError(400, message, "logprobs")
        if self.logprobs is not None and self.echo:
            message = (
                "logprobs is given with echo, which asks for those of the prompt's tokens too: an encoder gives none, "
                "and this server computes none, so leave out one of them; t5x_lite.score gives those of targets"
            )
            raise RequestError(400, message, "logprobs")
        return self


class EmbeddingRequest(RequestBody):
    """Body of POST /v1/embeddings."""

    model: ModelName
    input: Prompts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str = ""


class Completion(NamedTuple):
    """A validated completions request and its decoding settings."""

    request: CompletionRequest
    config: GenerationConfig


def parse_body(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a request body; raises RequestError if there is none."""

    def reject(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")

    try:
        fields = json.loads(body.decode("utf-8"), parse_constant=reject)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not JSON ({error}): send one JSON object, in UTF-8") from error
    if not isinstance(fields, dict):
        raise RequestError(400, f"the body is {shown(fields)}: send one JSON object")
    for field, value in fields.items() if b"\\u" in body else ():
        # JSON can write half of a surrogate pair, which is no character and in no encoding.
        if not _is_unicode(field) or not _is_unicode(json.dumps(value, ensure_ascii=False)):
            name = field if _is_unicode(field) else None
            raise RequestError(400, f"{shown(field)} has an unpaired surrogate: send valid Unicode", name)
    return fields


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_completion(fields: Mapping[str, Any], served: Served) -> Completion:
    """Validates the body of a completions request; raises RequestError."""
    request = validate(CompletionRequest, fields, served)
    architecture = served.pretrained.architecture
    if not architecture.traits.decodes:
        message = f"the model is {architecture.with_article}, which generates no text: use /v1/embeddings"
        raise RequestError(400, message, "model")
    return Completion(request, _generation_config(request, served))


def parse_embedding(fields: Mapping[str, Any], served: Served) -> EmbeddingRequest:
    """Validates the body of an embeddings request; raises RequestError."""
    request = validate(EmbeddingRequest, fields, served)
    architecture = served.pretrained.architecture
    if not architecture.traits.has_encoder:
        message = f"the model is {architecture.with_article}, which has no encoder: use /v1/completions"
        raise RequestError(400, message, "model")
    try:
        make_plan(served.pretrained, EncodingConfig(dimensions=request.dimensions))
    except ValueError as error:
        raise RequestError(400, str(error), "dimensions") from error
    return request


Request = TypeVar("Request", bound=RequestBody)


def validate(kind: type[Request], fields: Mapping[str, Any], served: Served) -> Request:
    """Returns a request's body as a model; raises RequestError."""
    try:
        return kind.model_validate(fields, context=served)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field = str(first["loc"][0])
    if first["type"] == "missing":
        message = f"{field} is missing: this field is required"
    elif first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        message = f"{shown(field)} is not a field of this request: use {', '.join(sorted(kind.model_fields))}"
    else:
        problem = first["msg"]
        message = f"{field} is {shown(fields[field])}: {problem[0].lower()}{problem[1:]}"
    raise RequestError(400, message, field)


def _generation_config(request: CompletionRequest, served: Served) -> GenerationConfig:
    """Merges the request with OpenAI's defaults, and with the model's own settings where OpenAI has none."""
    options, own = served.options, served.pretrained.generation
    num_beams, n = request.num_beams, request.n
    max_tokens = request.max_tokens or min(DEFAULT_MAX_TOKENS, options.max_new_tokens)
    _check_limit("num_beams", num_beams, options.batch_size)
    _check_limit("n", n, num_beams if num_beams > 1 else options.batch_size)
    _check_limit("max_tokens", max_tokens, options.max_new_tokens)
    _check_limit("min_tokens", request.min_tokens, max_tokens)
    temperature = request.temperature
    if temperature is None:
        temperature = 0.0 if num_beams > 1 else 1.0
    if temperature == 0 and n > 1 and num_beams == 1:
        message = f"n is {n}, but temperature 0 gives only one completion: add temperature or num_beams"
        raise RequestError(400, message, "n")
    filters: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    if temperature > 0:
        top_k = min(request.top_k, served.pretrained.tokenizer.vocab_size)
        filters = {"top_k": top_k, "top_p": max(request.top_p, SMALLEST_TOP_P), "min_p": request.min_p}
    penalties = ("repetition_penalty", "length_penalty", "no_repeat_ngram_size")
    given = {name: value for name in penalties if (value := getattr(request, name)) is not None}
    try:
        config = dataclasses.replace(
            own,
            max_new_tokens=max_tokens,
            min_new_tokens=request.min_tokens,
            temperature=temperature,
            seed=secrets.randbits(32) if request.seed is None else request.seed % 2**32,
            num_beams=num_beams,
            num_return_sequences=n,
            **filters,
            **given,
        )
        forced = served.pretrained.tokenizer.encode(config.forced_prefix) if config.forced_prefix else []
        check_tokens(config, forced, served.pretrained)
    except ValueError as error:
        raise RequestError(400, str(error)) from error
    return config


def _check_limit(field: str, value: int, limit: int) -> None:
    if value > limit:
        raise RequestError(400, f"{field} is {value}: input should be less than or equal to {limit}", field)


def shown(value: Any) -> str:
    """Returns a value as JSON, cut to a length that fits in a message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


class LogProbs(BaseModel):
    """Tokens of a choice with their log-probabilities."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None = None  # None for logprobs 0
    text_offset: list[int]


class ChoiceReply(BaseModel):
    """One choice of a completion, or its next part in a stream."""

    text: str
    index: int
    logprobs: LogProbs | None
    finish_reason: Literal["stop", "length"] | None

    @classmethod
    def of(cls, delta: Delta, index: int) -> "ChoiceReply":
        """Returns the reply for a delta: a part of the choice, or all of it if joined."""
        log_probs = None
        if delta.tokens:
            log_probs = LogProbs(
                tokens=delta.tokens,
                token_logprobs=delta.log_probs,
                top_logprobs=list(delta.top) or None,
                text_offset=delta.offsets,
            )
        return cls(text=delta.text, index=index, logprobs=log_probs, finish_reason=delta.finish)


class CompletionUsage(BaseModel):
    """Token counts of a completions request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


def new_id(kind: str) -> str:
    """Returns the id of a reply."""
    return f"{kind}-{secrets.token_hex(16)}"


class CompletionReply(BaseModel):
    """Response to a completions request; the events of a stream are copies with other choices."""

    id: str = Field(default_factory=lambda: new_id("cmpl"))
    object: Literal["text_completion", "chat.completion"] = "text_completion"
    created: int = Field(default_factory=lambda: int(time.time()))  # seconds since 1970
    model: str
    choices: list[ChoiceReply] = []
    usage: CompletionUsage | None = None


class CompletionForm:
    """The replies to one completions request."""

    def __init__(self, model: str):
        self._reply = CompletionReply(model=model)

    def whole(self, choices: Sequence[Delta], usage: CompletionUsage) -> dict[str, Any]:
        """Returns the reply with all choices."""
        replies = [ChoiceReply.of(delta, index) for index, delta in enumerate(choices)]
        return self._reply.model_copy(update={"choices": replies, "usage": usage}).model_dump()

    def event(self, index: int, delta: Delta) -> dict[str, Any]:
        """Returns the event of a stream for a part of a choice."""
        part = self._reply.model_copy(update={"choices": [ChoiceReply.of(delta, index)]})
        return part.model_dump(exclude={"usage"})

    def last_event(self, usage: CompletionUsage) -> dict[str, Any]:
        """Returns the event of a stream that has the usage."""
        return self._reply.model_copy(update={"usage": usage}).model_dump()


class EmbeddingReply(BaseModel):
    """Embedding of one input: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str

    @classmethod
    def of(cls, values_D: np.ndarray, index: int, encoding_format: str) -> "EmbeddingReply":
        """Returns the embedding of the input at an index, in the format "float" or "base64"."""
        if encoding_format == "base64":
            return cls(index=index, embedding=base64.b64encode(values_D.astype("<f4").tobytes()).decode())
        return cls(index=index, embedding=values_D.tolist())


class EmbeddingUsage(BaseModel):
    """Token counts of an embeddings request."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    """Response to an embeddings request."""

    object: Literal["list"] = "list"
    data: list[EmbeddingReply]
    model: str
    usage: EmbeddingUsage


class ModelReply(BaseModel):
    """Description of the model."""

    id: str
    object: Literal["model"] = "model"
    created: int  # seconds since 1970
    owned_by: str = "t5x_lite"
