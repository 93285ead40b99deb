# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite serve`: a socket, an engine and uvicorn, from the start to an orderly end."""

import ipaddress
import os
import pathlib
import socket
import sys
import threading
from types import FrameType

import uvicorn

from t5x_lite.checkpoints.load import load
from t5x_lite.config import ServeConfig
from t5x_lite.serving.app import make_app
from t5x_lite.serving.engine import Engine
from t5x_lite.serving.telemetry import Telemetry

SECONDS_TO_SEND = 5  # that clients get for reading the ends of their answers
BACKLOG = 2048


def serve(options: ServeConfig) -> None:
    """Loads a model and answers until SIGTERM or Ctrl-C; a second Ctrl-C ends at once.

    Args:
      options: what to serve, where and to whom; api_key is used as it is.

    Raises:
      ValueError: if the checkpoint cannot be loaded, or the address is not free.
      KeyboardInterrupt: at the second Ctrl-C.
    """
    telemetry = Telemetry(lambda: engine.num_waiting)
    engine = Engine(options, on_batch=telemetry.batch)
    name = model_name(options)
    with listening_socket(options) as listener:
        app = make_app(engine, options, telemetry, model_name=name)
        server = Server(app, engine, seconds_to_finish=options.shutdown_seconds)

        def loaded() -> None:
            if engine.error is not None:
                server.should_exit = True
            elif engine.state == "ready":
                say(f"{name} (step {engine.pretrained.step}) at {url(listener, options.host)}/v1, Ctrl-C stops it")

        if not is_loopback(options.host) and options.api_key is None:
            say(f"warning: {options.host} lets other machines in, and there is no key: add --api_key")
        engine.start(lambda: load(options.checkpoint), loaded)
        server.run(sockets=[listener])
    if server.interrupted_twice:
        raise KeyboardInterrupt
    if engine.error is not None:
        raise engine.error


class Server(uvicorn.Server):
    """Finishes what it has taken before it stops, and meanwhile tells others so.

    Args:
      app: of ASGI.
      engine: closed before the server stops.
      seconds_to_finish: how long what is running may take.
    """

    def __init__(self, app: object, engine: Engine, *, seconds_to_finish: float):
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=SECONDS_TO_SEND,
        )
        super().__init__(config)
        self.interrupted_twice = False
        self._engine, self._seconds = engine, seconds_to_finish
        self._closing = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop; uvicorn installs it for SIGTERM and SIGINT."""
        del sig, frame
        if self._closing:
            self.interrupted_twice = self.force_exit = self.should_exit = True
            return
        self._closing = True
        threading.Thread(target=self._close, name="t5x-lite-closing", daemon=True).start()

    def _close(self) -> None:
        # What is being loaded has nobody to answer.
        self._engine.close(self._seconds if self._engine.state == "ready" else 0.0)
        self.should_exit = True


def model_name(options: ServeConfig) -> str:
    """Returns what clients call the model."""
    return options.model_name or pathlib.Path(os.path.abspath(options.checkpoint)).name


def listening_socket(options: ServeConfig) -> socket.socket:
    """Returns a socket that listens.

    Raises:
      ValueError: if there is no such address, or another program has it.
    """
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ValueError(
            f"--host {options.host} --port {options.port} cannot be listened at ({error.strerror or error}): use "
            "another port, or 0 for any free one"
        ) from error


def url(listener: socket.socket, host: str) -> str:
    """Returns where a socket listens."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def say(line: str) -> None:
    """Prints a line for whoever started the server."""
    print(f"t5x-lite serve: {line}", file=sys.stderr, flush=True)
