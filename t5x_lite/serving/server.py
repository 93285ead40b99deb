# SPDX-License-Identifier: Apache-2.0
"""Runs the server: socket, engine and uvicorn, from start to graceful shutdown."""

import ipaddress
import math
import os
import pathlib
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.config.commands import ServeConfig
from t5x_lite.config.encoding import EncodingConfig
from t5x_lite.inference.encode import make_plan
from t5x_lite.parallel.local import local_mesh
from t5x_lite.serving.app import make_app
from t5x_lite.serving.chat import find_template
from t5x_lite.serving.connections import Connection, end_late, most_connections
from t5x_lite.serving.engine import Engine
from t5x_lite.serving.middleware import is_ip_address
from t5x_lite.serving.telemetry import Telemetry

SEND_SECONDS = 5  # for clients to read the rest of their responses
BACKLOG = 2048  # connections that the system keeps until they are accepted
ACCEPTED_AT_ONCE = 16  # before any of them can be closed again for others
TICKS_PER_CHECK = 10  # uvicorn ticks 10 times a second


def serve(options: ServeConfig) -> None:
    """Serves a model until SIGTERM or Ctrl-C, then finishes running requests.

    A second SIGTERM or Ctrl-C stops immediately. It raises KeyboardInterrupt, as does one Ctrl-C while the model loads.
    """
    telemetry = Telemetry(lambda: engine.num_waiting)
    engine = Engine(options, on_batch=telemetry.batch_sizes.observe)
    name, render = model_name(options), find_template(options, say)
    with listening_socket(options) as listener:
        app = make_app(engine, options, telemetry, model_name=name, render=render)
        server = Server(app, engine, options)

        def loaded() -> None:
            if engine.error is not None:
                server.should_exit = True
            elif engine.state == "ready":
                say(f"{name} (step {engine.pretrained.step}) at {url(listener, options.host)}/v1, press Ctrl-C to stop")

        if not is_loopback(options.host) and options.api_key is None:
            say(f"warning: {options.host} accepts connections from other machines without a key: add --api_key")
        mesh = local_mesh(options.mesh)
        engine.start(lambda: with_pooling(load(options.checkpoint, mesh, step=options.step), options), loaded)
        with server.capture_signals():  # before uvicorn has imported what it needs, and does so itself
            say(f"loading {name}; {url(listener, options.host)}/health tells when it is ready")
            server.run(sockets=[listener])
    if server.is_interrupted:
        raise KeyboardInterrupt
    if engine.error is not None:
        raise engine.error


def with_pooling(pretrained: Pretrained, options: ServeConfig) -> Pretrained:
    """Returns the model with the head for its embeddings; raises ValueError if it has no encoder."""
    if options.pooling is None:
        return pretrained
    return pretrained._replace(head=make_plan(pretrained, EncodingConfig(pooling=options.pooling)).head)


class Server(uvicorn.Server):
    """A uvicorn server with limits on connections.

    On shutdown, it rejects new requests and lets running ones finish in `options.shutdown_seconds`.
    """

    def __init__(self, app: object, engine: Engine, options: ServeConfig):
        seconds = options.receive_seconds
        most = most_connections(options.max_connections)
        if most < options.max_connections:
            say(f"warning: the limit of open files allows {most} connections, not --max_connections: see ulimit -n")
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=Connection.limits(most=most, seconds=seconds),
            timeout_keep_alive=math.ceil(seconds),
            backlog=ACCEPTED_AT_ONCE,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=SEND_SECONDS,
        )
        super().__init__(config)
        self.is_interrupted = False
        self._engine, self._seconds = engine, options.shutdown_seconds
        self._closing = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept connections; asyncio would accept as many at once as the system may keep."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Closes the connections of clients that are too slow; uvicorn calls this method."""
        if counter % TICKS_PER_CHECK == 0:
            end_late(self.server_state.connections)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts the shutdown, or ends it the second time; uvicorn installs this handler for SIGTERM and SIGINT."""
        del frame
        if self._closing:
            self.is_interrupted = self.force_exit = self.should_exit = True
            return
        self.is_interrupted = sig == signal.SIGINT and self._engine.state in ("new", "loading")
        self._closing = True
        threading.Thread(target=self._close, name="t5x-lite-closing", daemon=True).start()

    def _close(self) -> None:
        self._engine.close(self._seconds)
        self.should_exit = True


def model_name(options: ServeConfig) -> str:
    """Returns the model's name for clients."""
    return options.model_name or pathlib.Path(os.path.abspath(options.checkpoint)).name


def listening_socket(options: ServeConfig) -> socket.socket:
    """Returns a listening socket; raises ValueError if the address does not exist or is in use."""
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ValueError(
            f"cannot listen on --host {options.host} --port {options.port} ({error.strerror or error}): use "
            "another port, or 0 for a free one"
        ) from error


def url(listener: socket.socket, host: str) -> str:
    """Returns the URL of a listening socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    """Returns whether a host accepts connections from this machine only."""
    return ipaddress.ip_address(host).is_loopback if is_ip_address(host) else host == "localhost"


def say(line: str) -> None:
    """Prints a line to standard error."""
    print(f"t5x-lite serve: {line}", file=sys.stderr, flush=True)
