# SPDX-License-Identifier: Apache-2.0
"""The server's routes, as an ASGI application."""

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from t5x_lite.config.commands import ServeConfig
from t5x_lite.model.sentence_head import shortened
from t5x_lite.serving import schema
from t5x_lite.serving.batch import Embedded, Job, Progress
from t5x_lite.serving.chat import ChatForm, Render, parse_chat
from t5x_lite.serving.choices import Choice, Delta
from t5x_lite.serving.engine import Engine, NotServing
from t5x_lite.serving.middleware import BearerToken, BodyTooLarge, SameSite, error_response
from t5x_lite.serving.request_log import ROUTES, RequestLog, write_to_stderr
from t5x_lite.serving.schema import Completion, RequestError, Served
from t5x_lite.serving.subscription import ClientDisconnected, Subscription
from t5x_lite.serving.telemetry import Telemetry

CLIENT_CLOSED_REQUEST = 499  # nginx's status; only metrics see it
QUEUED_BATCHES = 4  # of one embeddings request at a time, to leave room for other requests
Form = schema.CompletionForm | ChatForm
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_app(
    engine: Engine, options: ServeConfig, telemetry: Telemetry, *, model_name: str, render: Render | None = None
) -> Starlette:
    """Returns the ASGI application; clients know the model as `model_name`.

    `render` turns messages into a prompt; None takes the text of a single message.
    """
    service = Service(engine, options, telemetry, model_name, render)
    telemetry.watch_programs(lambda: len(engine.programs), lambda: engine.programs.num_compiled)
    if options.api_key is None:
        access = Middleware(SameSite, names=(options.host, *options.allowed_hosts))
    else:
        access = Middleware(BearerToken, key=options.api_key)
    return Starlette(
        routes=[
            Route("/v1/completions", service.completions, methods=["POST"]),
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/v1/embeddings", service.embeddings, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/v1/models/{name:path}", service.one_model),
            Route("/health", service.health),
            Route("/metrics", service.metrics),
        ],
        middleware=[
            Middleware(RequestLog, telemetry=telemetry, write=write_to_stderr if options.log_requests else None),
            access,
        ],
        exception_handlers=dict.fromkeys((RequestError, HTTPException, ClientDisconnected, Exception), _report),
    )


class Service:
    """Handlers of the routes."""

    def __init__(
        self, engine: Engine, options: ServeConfig, telemetry: Telemetry, model_name: str, render: Render | None
    ):
        self._render = render
        self._engine, self._options, self._telemetry, self._name = engine, options, telemetry, model_name
        self._description = schema.ModelReply(id=model_name, created=int(time.time())).model_dump()

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions."""
        return await self._complete(request, schema.parse_completion, schema.CompletionForm(self._name))

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        parse = functools.partial(parse_chat, render=self._render)
        return await self._complete(request, parse, ChatForm(self._name))

    async def _complete(
        self, request: Request, parse: Callable[[dict[str, Any], Served], Completion], form: Form
    ) -> Response:
        begin = time.monotonic()
        fields = await self._fields(request)
        completion = await asyncio.to_thread(parse, fields, self._served())
        subscription = self._subscription(request)
        try:
            choices = await asyncio.to_thread(self._choices, completion)
            subscription.submit(_jobs(completion))
            deltas = _deltas(completion, choices, subscription)
            first = await anext(deltas)  # until here, errors can still set the response status
            self._telemetry.first_token_seconds.observe(time.monotonic() - begin)
        except BaseException:
            await subscription.close()
            raise
        if completion.request.stream:
            return EventStream(self._events(completion, choices, form, chain(first, deltas)), subscription)
        try:
            of_choices: list[list[Delta]] = [[] for _ in choices]
            of_choices[first[0]].append(first[1])
            async for index, delta in deltas:
                of_choices[index].append(delta)
        finally:
            await subscription.close()
        return JSONResponse(form.whole([Delta.join(parts) for parts in of_choices], self._usage(completion, choices)))

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        fields = await self._fields(request)
        parsed = await asyncio.to_thread(schema.parse_embedding, fields, self._served())
        subscription = self._subscription(request)
        vectors: dict[int, Any] = {}
        at_once = min(self._options.max_queue, QUEUED_BATCHES * self._options.batch_size)
        try:
            for first in range(0, len(parsed.input), at_once):
                subscription.submit([Job(ids=prompt.ids) for prompt in parsed.input[first : first + at_once]])
                async for number, event in subscription.events():
                    assert isinstance(event, Embedded)
                    vectors[first + number] = shortened(event.values_E, parsed.dimensions, normalise=True)
        finally:
            await subscription.close()
        num_tokens = sum(prompt.num_tokens for prompt in parsed.input)
        self._telemetry.tokens(num_tokens, 0)
        data = [schema.EmbeddingReply.of(vectors[i], i, parsed.encoding_format) for i in range(len(vectors))]
        usage = schema.EmbeddingUsage(prompt_tokens=num_tokens, total_tokens=num_tokens)
        return JSONResponse(schema.EmbeddingsReply(data=data, model=self._name, usage=usage).model_dump())

    async def models(self, _: Request) -> Response:
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": [self._description]})

    async def one_model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        given = request.path_params["name"]
        if given != self._name:
            message = f"there is no model {given!r}: this server has {self._name!r}"
            raise RequestError(404, message, "model", code="model_not_found")
        return JSONResponse(self._description)

    async def health(self, _: Request) -> Response:
        """GET /health."""
        if self._engine.state != "ready":
            return JSONResponse({"status": self._engine.state, "model": self._name}, 503)
        pretrained = self._engine.pretrained
        about = {"step": pretrained.step, "architecture": pretrained.architecture.name}
        return JSONResponse({"status": "ready", "model": self._name, **about})

    async def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        return Response(self._telemetry.text(), media_type=METRICS_TYPE)

    def _served(self) -> Served:
        try:
            return Served(self._engine.pretrained, self._name, self._options)
        except NotServing as error:
            raise RequestError(503, str(error)) from error

    def _subscription(self, request: Request) -> Subscription:
        return Subscription(self._engine, request.receive, seconds=self._options.timeout_seconds)

    async def _fields(self, request: Request) -> dict[str, Any]:
        """Reads and parses the request body, up to the size limit."""
        limit = self._options.max_body_bytes
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            raise BodyTooLarge(int(length), limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._options.receive_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > limit:
                        raise BodyTooLarge(len(body), limit)
        except TimeoutError as error:
            raise RequestError(408, "the body did not arrive in time: send it faster, or send less") from error
        except ClientDisconnect as error:
            raise ClientDisconnected from error
        return schema.parse_body(bytes(body))

    def _choices(self, completion: Completion) -> list[Choice]:
        request, tokenizer = completion.request, self._engine.pretrained.tokenizer
        surfaces = self._surfaces if request.logprobs is not None else None
        number = len(request.prompt) * request.n
        num_top = request.logprobs or 0
        return [Choice(tokenizer, surfaces=surfaces, num_top=num_top, stops=request.stop) for _ in range(number)]

    @functools.cached_property
    def _surfaces(self) -> list[str]:
        return self._engine.pretrained.tokenizer.surfaces()

    async def _events(
        self, completion: Completion, choices: list[Choice], form: Form, deltas: AsyncIterator[tuple[int, Delta]]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yields the JSON objects of a stream."""
        include_usage = completion.request.stream_options.include_usage
        async for index, delta in deltas:
            # OpenAI's: an event has a usage only if the last one will have it.
            yield form.event(index, delta) | ({"usage": None} if include_usage else {})
        usage = self._usage(completion, choices)
        if include_usage:
            yield form.last_event(usage)

    def _usage(self, completion: Completion, choices: list[Choice]) -> schema.CompletionUsage:
        num_input = sum(prompt.num_tokens for prompt in completion.request.prompt)
        num_new = sum(choice.num_tokens for choice in choices)
        self._telemetry.tokens(num_input, num_new)
        return schema.CompletionUsage(
            prompt_tokens=num_input, completion_tokens=num_new, total_tokens=num_input + num_new
        )


async def chain(first: tuple[int, Delta], deltas: AsyncIterator[tuple[int, Delta]]) -> AsyncIterator[tuple[int, Delta]]:
    """Yields the first delta and the others."""
    yield first
    async for delta in deltas:
        yield delta


class EventStream(Response):
    """Server-sent events: one per JSON object, then [DONE], or an error if generation fails."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[dict[str, Any]], subscription: Subscription):
        self.status_code, self.background = 200, None
        self._events, self._subscription = events, subscription
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events. The subscription watches for a disconnect."""
        del scope, receive

        async def send_event(data: str) -> None:
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})

        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for event in self._events:
                await send_event(json.dumps(event))
            await send_event("[DONE]")
        except RequestError as error:
            await send_event(json.dumps(error.body))
        except (ClientDisconnected, OSError):
            return
        finally:
            await self._subscription.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _jobs(completion: Completion) -> list[Job]:
    """Returns one job per prompt."""
    request, config = completion
    return [
        Job(ids=prompt.ids, config=config, stream=number, num_top=request.logprobs or 0)
        for number, prompt in enumerate(request.prompt)
    ]


async def _deltas(
    completion: Completion, choices: list[Choice], subscription: Subscription
) -> AsyncIterator[tuple[int, Delta]]:
    """Yields the index of a choice and its new part; the first and last part of a choice may be empty.

    The choices of a prompt are adjacent; the subscription has one job per prompt.
    """
    request, begun = completion.request, set()
    async for number, event in subscription.events():
        assert isinstance(event, Progress)
        indices = range(number * request.n, (number + 1) * request.n)
        for index, output in zip(indices, event.sequences, strict=True):
            if choices[index].finish:
                continue
            delta = choices[index].update(output)
            if index not in begun and request.echo:
                delta = delta._replace(text=request.prompt[number].text + delta.text)
            if index not in begun or delta.text or delta.tokens or delta.finish:
                begun.add(index)
                yield index, delta
        if not event.is_last and all(choices[index].finish for index in indices):
            subscription.cancel(number)


async def _report(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnected):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if isinstance(error, RequestError):
        return error_response(error)
    if not isinstance(error, HTTPException):
        return error_response(RequestError(500, f"the server failed ({type(error).__name__}): see its log"))
    allowed = (error.headers or {}).get("Allow", "")
    hint = f"use {allowed}" if allowed else f"see {', '.join(ROUTES)}"
    message = f"{request.method} {request.url.path} is not served: {hint}"
    response = error_response(RequestError(error.status_code, message))
    if allowed:
        response.headers["Allow"] = allowed
    return response
