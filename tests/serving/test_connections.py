"""Tests t5x_lite/serving/connections.py: with sockets, and an application that does nothing."""

# ruff: noqa: E402 - imports come after the skip

import asyncio
import contextlib
import http.client
import resource
import socket
import threading
import time

import pytest

for needed in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.serving import server as server_module
from t5x_lite.serving.connections import SPARE_FILES, most_connections
from t5x_lite.serving.server import Server, listening_socket
from tests.serving.models import SECONDS, options

HALF = b"GET / HTTP/1.1\r\nHost: a\r\nX-"
WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BIG = 2**24  # bytes that do not fit into the buffers of two sockets


class Application:
    """Answers requests, or holds them until it is released; /big has a response of BIG bytes."""

    def __init__(self):
        self.released = threading.Event()
        self.num_held = 0

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/hold":
            self.num_held += 1
            while not self.released.is_set():
                await asyncio.sleep(0.005)
        body = b"x" * (BIG if scope["path"] == "/big" else 1)
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for begin in range(0, len(body), 2**16):
            more = begin + 2**16 < len(body)
            await send({"type": "http.response.body", "body": body[begin : begin + 2**16], "more_body": more})


class Running:
    """A server at a free port, in a thread."""

    def __init__(self, **fields):
        chosen = options(**fields)
        self.app = Application()
        self.listener = listening_socket(chosen)
        self.address = self.listener.getsockname()
        self.server = Server(self.app, None, chosen)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()
        self.sockets = []

    def connect(self, sent=b"") -> socket.socket:
        connected = socket.create_connection(self.address, timeout=SECONDS)
        self.sockets.append(connected)
        connected.sendall(sent)
        return connected

    def get(self, path="/") -> int:
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=SECONDS)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def stop(self):
        self.app.released.set()
        for connected in self.sockets:
            connected.close()
        self.server.should_exit = True
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(server_module, "TICKS_PER_CHECK", 1)
    servers = []

    def start(**fields):
        servers.append(Running(**fields))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def is_closed(connected: socket.socket, seconds: float = SECONDS) -> bool:
    """Whether the server closes a connection within some seconds; what it sends until then is read."""
    end = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        while (left := end - time.monotonic()) > 0:
            connected.settimeout(left)
            try:
                if not connected.recv(2**16):
                    return True
            except ConnectionError:
                return True
    return False


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("sent", [b"", HALF, WHOLE, WHOLE + HALF], ids=["nothing", "half", "whole", "one and a half"])
def test_a_connection_without_a_whole_request_is_closed_in_time(run, sent):
    assert is_closed(run(receive_seconds=0.2).connect(sent))


def test_headers_that_keep_coming_are_late_too(run):
    slow = run(receive_seconds=0.3).connect(HALF)

    def trickle():
        with contextlib.suppress(OSError):
            while True:
                slow.sendall(b"a")
                time.sleep(0.05)

    threading.Thread(target=trickle, daemon=True).start()
    assert is_closed(slow)


def test_a_request_that_is_running_is_not_closed(run):
    server = run(receive_seconds=0.2)
    running = server.connect(WHOLE.replace(b"GET /", b"GET /hold"))
    assert not is_closed(running, 0.7)
    server.app.released.set()
    running.settimeout(SECONDS)
    assert running.recv(99).startswith(b"HTTP/1.1 200")


def test_a_body_that_goes_on_after_the_response_is_cut_off(run):
    endless = run(receive_seconds=SECONDS).connect(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")

    def send_more():
        for _ in range(1000):
            endless.sendall(b"10000\r\n" + b"x" * 2**16 + b"\r\n")

    with pytest.raises(ConnectionError):
        send_more()


def test_a_body_that_never_ends_after_the_response_is_cut_off_in_time(run):
    assert is_closed(run(receive_seconds=0.2).connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"))


def test_a_client_that_does_not_read_is_cut_off(run):
    server = run(receive_seconds=0.3)
    server.connect(WHOLE.replace(b"GET /", b"GET /big"))
    wait_for(lambda: server.server.server_state.connections)
    wait_for(lambda: not server.server.server_state.connections)


def test_a_new_connection_takes_the_place_of_the_oldest_unfinished_request(run):
    server = run(max_connections=3)
    first, second, third = (server.connect(HALF) for _ in range(3))
    assert server.get() == 200
    assert is_closed(first)
    assert not is_closed(second, 0.1)
    assert not is_closed(third, 0.1)


def test_a_client_that_was_answered_keeps_its_place_before_one_that_was_not(run):
    server = run(max_connections=2)
    answered = server.connect(WHOLE)
    answered.settimeout(SECONDS)
    answered.recv(9999)
    half = server.connect(HALF)
    assert server.get() == 200
    assert is_closed(half)
    assert not is_closed(answered, 0.1)


def test_without_a_place_a_connection_is_told_to_come_back(run):
    server = run(max_connections=2)
    holding = [server.connect(WHOLE.replace(b"GET /", b"GET /hold")) for _ in range(2)]
    wait_for(lambda: server.app.num_held == 2)
    refused = server.connect()
    refused.settimeout(SECONDS)
    assert refused.recv(999).startswith(b"HTTP/1.1 503")
    server.app.released.set()
    for held in holding:
        held.settimeout(SECONDS)
        assert held.recv(99).startswith(b"HTTP/1.1 200")


def test_hundreds_of_half_requests_do_not_keep_others_out(run):
    server = run(max_connections=20)
    for _ in range(300):
        server.connect(HALF)
    assert [server.get() for _ in range(5)] == [200] * 5
    wait_for(lambda: len(server.server.server_state.connections) <= 20)


def test_there_are_no_more_connections_than_files(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (128, 4096))
    assert 1 <= most_connections(512) <= 128 - SPARE_FILES
    assert most_connections(5) == 5
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_connections(512) == 512
