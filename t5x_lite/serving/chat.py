# SPDX-License-Identifier: Apache-2.0
"""OpenAI's chat completions as a form of completions: messages become a prompt by a template.

Source: OpenAI's API reference; templates as in transformers, in Jinja.
"""

import contextlib
import functools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from t5x_lite.config.commands import ServeConfig
from t5x_lite.serving.choices import Delta
from t5x_lite.serving.schema import (
    Completion,
    CompletionReply,
    CompletionUsage,
    Generation,
    RequestError,
    Served,
    new_id,
    parse_completion,
    shown,
    validate,
)

TEMPLATE_FILE, SETTINGS_FILE = "chat_template.jinja", "tokenizer_config.json"
ROLES = ("system", "developer", "user", "assistant")
# What this server does not do, with the values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "web_search_options": (),
    "store": (False,),
}
MOST_TEMPLATE_LINES = 200_000  # of the Python that Jinja compiles a template to; about 0.1 s
Render = Callable[[Sequence[Mapping[str, str]]], str]


class Message(NamedTuple):
    """One message of a conversation."""

    role: str
    content: str


class ChatRequest(Generation):
    """Body of POST /v1/chat/completions."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=5)


def parse_chat(fields: Mapping[str, Any], served: Served, render: Render | None) -> Completion:
    """Validates the body of a chat completions request and returns it as a completion; raises RequestError."""
    for name, neutral in UNSUPPORTED.items():
        if fields.get(name) is not None and fields[name] not in neutral:
            raise RequestError(400, f"{name} is {shown(fields[name])}: this server has no such function", name)
    request = validate(ChatRequest, {name: fields[name] for name in fields if name not in UNSUPPORTED}, served)
    if request.top_logprobs is not None and not request.logprobs:
        raise RequestError(400, "top_logprobs is given without logprobs: add logprobs true", "top_logprobs")
    limits = {limit for limit in (request.max_tokens, request.max_completion_tokens) if limit is not None}
    if len(limits) > 1:
        message = (
            f"max_completion_tokens is {request.max_completion_tokens}, and max_tokens {request.max_tokens}: use one"
        )
        raise RequestError(400, message, "max_completion_tokens")
    messages = [_message(message, f"messages[{number}]") for number, message in enumerate(request.messages)]
    given = {name: fields[name] for name in Generation.model_fields if name in fields}
    given["max_tokens"] = max(limits, default=served.options.max_new_tokens)
    if request.logprobs:
        given["logprobs"] = request.top_logprobs or 0
    try:
        return parse_completion({**given, "prompt": _prompt(messages, render)}, served)
    except RequestError as error:
        if error.param == "prompt":
            error.param = "messages"
        raise


def _message(given: Mapping[str, Any], field: str) -> Message:
    unknown = [name for name in given if name not in ("role", "content", "name") and given[name] is not None]
    if unknown:
        raise RequestError(400, f"{field} has {shown(unknown[0])}: use role and content", "messages")
    role, content = given.get("role"), given.get("content")
    if role not in ROLES:
        raise RequestError(400, f"{field}.role is {shown(role)}: use {', '.join(ROLES)}", "messages")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            shown_part = shown(part.get("type") if isinstance(part, dict) and part.get("type") != "text" else content)
            message = f"{field}.content has {shown_part}: give a text, or parts of the type text"
            raise RequestError(400, message, "messages")
    return Message(role, "".join(part["text"] for part in parts))


def _prompt(messages: Sequence[Message], render: Render | None) -> str:
    if render is not None:
        return render([message._asdict() for message in messages])
    if len(messages) > 1 or messages[0].role != "user":
        raise RequestError(
            400,
            f"messages has the roles {', '.join(message.role for message in messages)}, but the model has no chat "
            "template: send one user message, or start the server with --chat_template",
            "messages",
        )
    return messages[0].content


def find_template(options: ServeConfig, warn: Callable[[str], object]) -> Render | None:
    """Returns the function that turns messages into a prompt by the template of the option, or else the model's.

    Raises ValueError if the option's file cannot be used; warns if the model's template cannot.
    """
    directory = pathlib.Path(options.checkpoint)
    settings = _settings(directory / SETTINGS_FILE)
    if options.chat_template is not None:
        return compile_template(_read(pathlib.Path(options.chat_template)), settings, options.chat_template)
    own = directory / TEMPLATE_FILE
    try:
        if own.is_file():
            return compile_template(_read(own), settings, str(own))
        source = settings.get("chat_template")
        if isinstance(source, list):  # several with names
            named = {item.get("name"): item.get("template") for item in source if isinstance(item, dict)}
            source = named.get("default")
        if isinstance(source, str):
            return compile_template(source, settings, str(directory / SETTINGS_FILE))
    except ValueError as error:
        warn(f"warning: {error}; conversations are limited to one message")
    return None


def _settings(path: pathlib.Path) -> dict[str, Any]:
    """Returns the settings of a model's tokenizer; none if they are damaged, which is reported where they are used."""
    try:
        settings = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"{path} cannot be read ({reason}): name a file with a Jinja template") from error


def compile_template(source: str, settings: Mapping[str, Any], where: str) -> Render:
    """Returns the function that renders a Jinja template, in a sandbox; raises ValueError if it is none."""
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ValueError(f"{where} has a chat template, which needs jinja2: pip install 't5x-lite[serve]'") from error

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    try:
        template = environment.from_string(source)
    except (jinja2.TemplateError, RecursionError) as error:
        raise ValueError(f"{where} has a chat template that is not Jinja ({error}): correct it") from error
    tokens = {name: _token(settings.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return functools.partial(_render, template, tokens)


def _render(template: Any, tokens: Mapping[str, str], messages: Sequence[Mapping[str, str]]) -> str:
    try:
        with _limited_lines():
            return template.render(messages=messages, add_generation_prompt=True, **tokens)
    except Exception as error:  # a template may do anything
        message = f"the chat template does not accept these messages ({error}): change them"
        raise RequestError(400, message, "messages") from error


@contextlib.contextmanager
def _limited_lines() -> Iterator[None]:
    """Raises RuntimeError in this thread once too many lines have run: a stranger's template may loop without end."""
    left = MOST_TEMPLATE_LINES

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal left
        del frame, argument
        left -= event == "line"
        if left < 0:
            raise RuntimeError("it takes too many steps")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def _token(value: Any) -> str:
    """Returns a special token, which a directory may describe instead of naming."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


class ChatForm:
    """The replies to one chat completions request."""

    def __init__(self, model: str):
        self._reply = CompletionReply(id=new_id("chatcmpl"), object="chat.completion", model=model)
        self._begun: set[int] = set()

    def whole(self, choices: Sequence[Delta], usage: CompletionUsage) -> dict[str, Any]:
        """Returns the reply with all choices."""
        body = [
            _choice(index, delta) | {"message": {"role": "assistant", "content": delta.text, "refusal": None}}
            for index, delta in enumerate(choices)
        ]
        return self._reply.model_copy(update={"usage": usage}).model_dump() | {"choices": body}

    def event(self, index: int, delta: Delta) -> dict[str, Any]:
        """Returns the event of a stream for a part of a choice."""
        content = {"content": delta.text} if delta.text or index not in self._begun else {}
        if index not in self._begun:
            content = {"role": "assistant", **content}
        self._begun.add(index)
        return self._chunk([_choice(index, delta) | {"delta": content}])

    def last_event(self, usage: CompletionUsage) -> dict[str, Any]:
        """Returns the event of a stream that has the usage."""
        return self._chunk([]) | {"usage": usage.model_dump()}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._reply.model_dump(exclude={"usage"}) | {"object": "chat.completion.chunk", "choices": choices}


def _choice(index: int, delta: Delta) -> dict[str, Any]:
    tops = delta.top or [{}] * len(delta.tokens)
    content = [
        {**_log_prob(token, value), "top_logprobs": [_log_prob(*pair) for pair in top.items()]}
        for token, value, top in zip(delta.tokens, delta.log_probs, tops, strict=True)
    ]
    log_probs = {"content": content, "refusal": None} if content else None
    return {"index": index, "logprobs": log_probs, "finish_reason": delta.finish}


def _log_prob(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}
