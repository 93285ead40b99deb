# SPDX-License-Identifier: Apache-2.0
"""The routes of the server, as an ASGI application."""

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from t5x_lite.config import ServeConfig
from t5x_lite.serving import replies
from t5x_lite.serving.batch import Embedded, Job, Progress
from t5x_lite.serving.choices import Choice, Piece
from t5x_lite.serving.engine import Engine, NotServing
from t5x_lite.serving.listening import ClientLeft, Listening
from t5x_lite.serving.middleware import BearerToken, Measured, TooLarge, refusal_response
from t5x_lite.serving.protocol import Completion, Prompt, Served, parse_body, parse_completion, parse_embedding
from t5x_lite.serving.refusals import Refused
from t5x_lite.serving.telemetry import Telemetry

CLIENT_LEFT = 499  # nginx's status; nobody reads it but the metrics
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_app(engine: Engine, options: ServeConfig, telemetry: Telemetry, *, model_name: str) -> Starlette:
    """Returns the application.

    Args:
      engine: that answers.
      options: limits, and the key that clients need.
      telemetry: counts what happens.
      model_name: as clients call the model.
    """
    service = Service(engine, options, telemetry, model_name)
    return Starlette(
        routes=[
            Route("/v1/completions", service.completions, methods=["POST"]),
            Route("/v1/embeddings", service.embeddings, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/v1/models/{name:path}", service.one_model),
            Route("/health", service.health),
            Route("/metrics", service.metrics),
        ],
        middleware=[Middleware(Measured, telemetry=telemetry), Middleware(BearerToken, key=options.api_key)],
        exception_handlers={Refused: _refuse, HTTPException: _refuse_route, Exception: _fail, ClientLeft: _nobody},
    )


class Service:
    """What each route does; arguments as for `make_app`."""

    def __init__(self, engine: Engine, options: ServeConfig, telemetry: Telemetry, model_name: str):
        self._engine, self._options, self._telemetry, self._name = engine, options, telemetry, model_name
        self._created = int(time.time())

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions."""
        begin = time.monotonic()
        fields = await self._fields(request)
        asked = await asyncio.to_thread(parse_completion, fields, self._served())
        listening = Listening(self._engine, request.receive, seconds=self._options.timeout_seconds)
        try:
            writing = Writing(asked, await asyncio.to_thread(self._choices, asked), listening)
            pieces = writing.pieces()
            first = await anext(pieces)  # while the status can still be one of a refusal
            self._telemetry.first_tokens(time.monotonic() - begin)
        except BaseException:
            await listening.close()
            raise
        reply = replies.Reply(self._name)
        if asked.stream:
            return EventStream(self._events(reply, asked, writing, first, pieces), listening)
        try:
            of_choices: list[list[Piece]] = [[] for _ in writing.choices]
            of_choices[first[0]].append(first[1])
            async for index, piece in pieces:
                of_choices[index].append(piece)
        finally:
            await listening.close()
        return JSONResponse(reply.whole(of_choices, self._usage(writing)))

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        fields = await self._fields(request)
        asked = await asyncio.to_thread(parse_embedding, fields, self._served())
        listening = Listening(self._engine, request.receive, seconds=self._options.timeout_seconds)
        vectors: dict[int, Any] = {}
        try:
            listening.submit([Job(ids=prompt.ids, notify=_unheard) for prompt in asked.prompts])
            async for number, event in listening.events():
                assert isinstance(event, Embedded)
                vectors[number] = event.values_D
        finally:
            await listening.close()
        num_tokens = _num_tokens(asked.prompts)
        self._telemetry.tokens(num_tokens, 0)
        in_order = [vectors[number] for number in range(len(vectors))]
        return JSONResponse(replies.embeddings(self._name, in_order, num_tokens, as_base64=asked.base64))

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        del request
        return JSONResponse({"object": "list", "data": [replies.model(self._name, self._created)]})

    async def one_model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        given = request.path_params["name"]
        if given != self._name:
            message = f"there is no model {given!r}: this server has {self._name!r}"
            raise Refused(404, message, "model", code="model_not_found")
        return JSONResponse(replies.model(self._name, self._created))

    async def health(self, request: Request) -> Response:
        """GET /health."""
        del request
        if self._engine.state != "ready":
            return JSONResponse({"status": self._engine.state, "model": self._name}, 503)
        pretrained = self._engine.pretrained
        about = {"step": pretrained.step, "architecture": pretrained.architecture.name}
        return JSONResponse({"status": "ready", "model": self._name, **about})

    async def metrics(self, request: Request) -> Response:
        """GET /metrics."""
        del request
        return Response(self._telemetry.text(), media_type=METRICS_TYPE)

    def _served(self) -> Served:
        try:
            return Served(self._engine.pretrained, self._name, self._options)
        except NotServing as error:
            raise Refused(503, str(error)) from error

    async def _fields(self, request: Request) -> dict[str, Any]:
        """Reads a body, but not more of it than is allowed."""
        most = self._options.max_body_bytes
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise TooLarge(int(length), most)
        body = bytearray()
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise TooLarge(len(body), most)
        except TimeoutError as error:
            raise Refused(408, "the body did not come in time: send it faster, or less of it") from error
        except ClientDisconnect as error:
            raise ClientLeft from error
        return parse_body(bytes(body))

    def _choices(self, asked: Completion) -> list[Choice]:
        tokenizer = self._engine.pretrained.tokenizer
        surfaces = self._surfaces if asked.log_probs else None
        number = len(asked.prompts) * asked.config.num_return_sequences
        return [Choice(tokenizer, surfaces=surfaces, stops=asked.stops) for _ in range(number)]

    @functools.cached_property
    def _surfaces(self) -> list[str]:
        return self._engine.pretrained.tokenizer.surfaces()

    async def _events(
        self,
        reply: replies.Reply,
        asked: Completion,
        writing: "Writing",
        first: tuple[int, Piece],
        pieces: AsyncIterator[tuple[int, Piece]],
    ) -> AsyncIterator[dict[str, Any]]:
        yield reply.part(first[1], first[0], says_usage=asked.include_usage)
        async for index, piece in pieces:
            yield reply.part(piece, index, says_usage=asked.include_usage)
        usage = self._usage(writing)
        if asked.include_usage:
            yield reply.end(usage)

    def _usage(self, writing: "Writing") -> dict[str, int]:
        num_input = _num_tokens(writing.asked.prompts)
        num_new = sum(choice.num_tokens for choice in writing.choices)
        self._telemetry.tokens(num_input, num_new)
        return replies.usage(num_input, num_new)


class Writing:
    """A completion's choices as they grow.

    Args:
      asked: what is written.
      choices: of all prompts, those of one beside each other.
      listening: that the jobs are submitted to.
    """

    def __init__(self, asked: Completion, choices: list[Choice], listening: Listening):
        self.asked, self.choices, self._listening = asked, choices, listening
        listening.submit(
            [
                Job(
                    ids=prompt.ids,
                    notify=_unheard,
                    config=asked.config,
                    stream=number,
                    log_probs=asked.log_probs,
                )
                for number, prompt in enumerate(asked.prompts)
            ]
        )

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """Yields the number of a choice with what is new of it; an empty piece tells that it has begun, or ends."""
        n = self.asked.config.num_return_sequences
        begun: set[int] = set()
        async for number, event in self._listening.events():
            assert isinstance(event, Progress)
            for k, grown in enumerate(event.sequences):
                index = number * n + k
                if self.choices[index].finish:
                    continue
                piece = self.choices[index].take(grown)
                if index not in begun and self.asked.echo:
                    piece = piece._replace(text=self.asked.prompts[number].text + piece.text)
                if index not in begun or piece.text or piece.tokens or piece.finish:
                    begun.add(index)
                    yield index, piece
            if not event.is_last and all(choice.finish for choice in self.choices[number * n : (number + 1) * n]):
                self._listening.give_up(number)


class EventStream(Response):
    """Server-sent events: one a JSON object, then [DONE]; ends without it where an answer fails.

    Args:
      events: the objects.
      listening: closed at the end, however it comes.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[dict[str, Any]], listening: Listening):
        self.status_code, self.background = 200, None
        self._events, self._listening = events, listening
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events; the client is watched by `listening`."""
        del scope, receive

        async def tell(data: str) -> None:
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})

        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for event in self._events:
                await tell(json.dumps(event))
            await tell("[DONE]")
        except Refused as refused:
            await tell(json.dumps(refused.body))
        except (ClientLeft, OSError):
            return
        finally:
            await self._listening.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _num_tokens(prompts: list[Prompt]) -> int:
    return sum(prompt.num_tokens for prompt in prompts)


def _unheard(event: object) -> None:
    raise AssertionError(f"nobody listens to {event}")


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, Refused)
    return refusal_response(error)


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "")
    hint = f"use {allowed}" if allowed else "see /v1/models, /v1/completions, /v1/embeddings, /health, /metrics"
    refused = Refused(error.status_code, f"{request.method} {request.url.path} is not served: {hint}")
    response = refusal_response(refused)
    if allowed:
        response.headers["Allow"] = allowed
    return response


async def _fail(request: Request, error: Exception) -> Response:
    del request
    return refusal_response(Refused(500, f"the server failed ({type(error).__name__}): see its log"))


async def _nobody(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=CLIENT_LEFT)
