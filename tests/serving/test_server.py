"""Tests t5x_lite/serving/server.py: with sockets, and clients that know nothing of t5x_lite."""

# ruff: noqa: E402 - imports come after the skip

import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from tests.paths import ROOT

for needed in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.checkpoints.load import save_hf
from t5x_lite.serving import server as server_module
from t5x_lite.serving.app import make_app
from t5x_lite.serving.engine import Engine
from t5x_lite.serving.server import Server, is_loopback, listening_socket, model_name, serve, url, with_pooling
from t5x_lite.serving.telemetry import Telemetry
from tests.serving.models import SECONDS, alone, options, pretrained

NEW = 6
JSON = {"Content-Type": "application/json"}
RIGHT = {"model": "mine", "prompt": "one", "temperature": 0, "max_tokens": NEW}


class Running:
    """A server at a free port, in a thread."""

    def __init__(self, **fields):
        chosen = options(**fields)
        self.telemetry = Telemetry(lambda: self.engine.num_waiting)
        self.engine = Engine(chosen, on_batch=self.telemetry.batch_sizes.observe)
        loaded = threading.Event()
        self.engine.start(pretrained, loaded.set)
        assert loaded.wait(SECONDS)
        self.socket = listening_socket(chosen)
        self.port = self.socket.getsockname()[1]
        app = make_app(self.engine, chosen, self.telemetry, model_name="mine")
        self.server = Server(app, self.engine, dataclasses.replace(chosen, shutdown_seconds=SECONDS))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)

    def post(self, fields) -> tuple[int, dict]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", "/v1/completions", json.dumps(fields), JSON)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def stop(self):
        if self.thread.is_alive():
            self.server.handle_exit(signal.SIGTERM, None)
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        self.engine.close(SECONDS)


@pytest.fixture
def running():
    servers = []

    def run(**fields):
        servers.append(Running(**fields))
        return servers[-1]

    yield run
    for server in servers:
        server.stop()


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_pooling_is_the_servers_if_it_is_chosen():
    assert with_pooling(pretrained(), options()) is pretrained()
    first = with_pooling(pretrained("encoder"), options(pooling="first")).head
    assert (first.pooling, first.normalise) == ("first", True)
    with pytest.raises(ValueError, match="the model is a causal_lm, which has no encoder"):
        with_pooling(pretrained("causal_lm"), options(pooling="mean"))


def test_a_body_of_10_mb_is_refused_and_its_client_gets_to_read_it(running):
    server = running()
    status, body = server.post(RIGHT | {"prompt": "a" * 10_000_000})
    assert status == 413
    assert "the limit is 1048576" in body["error"]["message"]
    assert server.post(RIGHT)[0] == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_place_and_the_server_goes_on(running, held, stream):
    server = running(batch_size=1)
    first, second = server.connect(), server.connect()
    for connection in (first, second):
        connection.request("POST", "/v1/completions", json.dumps(RIGHT | {"max_tokens": 500, "stream": stream}), JSON)
    wait_for(lambda: server.engine.num_waiting == 1)
    first.close()
    second.close()
    wait_for(lambda: server.engine.num_waiting == 0)
    wait_for(lambda: all(job.cancelled for job in server.engine._running))
    held.set()
    assert server.post(RIGHT)[1]["choices"][0]["text"] == alone("one", max_new_tokens=NEW)


def test_a_client_that_hangs_up_in_mid_stream_ends_its_batch(running):
    server = running(max_new_tokens=20_000)
    connection = server.connect()
    asked = RIGHT | {"max_tokens": 20_000, "min_tokens": 20_000, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(asked), JSON)
    response = connection.getresponse()
    assert response.status == 200
    assert response.readline().startswith(b"data: ")
    response.close()
    connection.close()
    wait_for(lambda: not server.engine._running)
    assert server.post(RIGHT)[0] == 200


def test_stopping_finishes_running_requests_and_rejects_new_ones(running, held):
    server, answers = running(), []
    asking = threading.Thread(target=lambda: answers.append(server.post(RIGHT)))
    asking.start()
    wait_for(lambda: server.engine._running)
    server.server.handle_exit(signal.SIGTERM, None)
    wait_for(lambda: server.engine.state == "closing")
    status, body = server.post(RIGHT)
    assert (status, body["error"]["code"]) == (503, "unavailable")
    held.set()
    asking.join(SECONDS)
    [(status, body)] = answers
    assert (status, body["choices"][0]["text"]) == (200, alone("one", max_new_tokens=NEW))
    server.thread.join(SECONDS)
    assert not server.thread.is_alive()


def test_a_second_signal_stops_at_once(running, held):
    server = running()

    def ask():
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # whatever becomes of it
            server.post(RIGHT)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: server.engine._running)
    server.server.handle_exit(signal.SIGINT, None)
    server.server.handle_exit(signal.SIGINT, None)
    server.thread.join(SECONDS)
    assert server.server.is_interrupted
    held.set()
    asking.join(SECONDS)


def test_openais_client_works_unchanged(running):
    openai = pytest.importorskip("openai", reason="openai is not installed")
    server = running(api_key="secret")
    base_url = f"http://127.0.0.1:{server.port}/v1"
    settings = {"model": "mine", "prompt": "one", "max_tokens": NEW, "temperature": 0}
    with openai.OpenAI(base_url=base_url, api_key="secret", max_retries=0) as client:
        expected = alone("one", max_new_tokens=NEW)
        whole = client.completions.create(**settings)
        assert (whole.choices[0].text, whole.usage.completion_tokens) == (expected, NEW)
        parts = list(client.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
        assert "".join(part.choices[0].text for part in parts[:-1]) == expected
        assert parts[-1].usage.completion_tokens == NEW
        assert [model.id for model in client.models.list()] == ["mine"]
        del settings["prompt"]
        settings["messages"] = [{"role": "user", "content": "one"}]
        assert client.chat.completions.create(**settings).choices[0].message.content == expected
        parts = list(client.chat.completions.create(**settings, stream=True))
        assert "".join(part.choices[0].delta.content or "" for part in parts) == expected
        settings = {"model": "mine", "prompt": "one", "max_tokens": NEW, "temperature": 0}
        # Unless it is told otherwise, it asks for base64 and decodes it.
        vectors = [
            client.embeddings.create(model="mine", input="one", **encoding).data[0].embedding
            for encoding in ({}, {"encoding_format": "float"})
        ]
        assert vectors[0] == pytest.approx(vectors[1], rel=1e-3)
        with pytest.raises(openai.NotFoundError, match="this server has 'mine'"):
            client.completions.create(**settings | {"model": "other"})
        with pytest.raises(openai.BadRequestError, match="max_tokens is -1"):
            client.completions.create(**settings | {"max_tokens": -1})
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").completions.create(**settings)


@pytest.mark.slow
def test_the_command_serves_a_checkpoint_and_sigterm_ends_it_with_0(tmp_path):
    checkpoint = tmp_path / "small"
    save_hf(pretrained().model, pretrained().tokenizer, checkpoint)
    command = "import sys; from t5x_lite.cli import main; sys.exit(main())"
    arguments = ["serve", "--checkpoint", str(checkpoint), "--port", "0", "--batch_size", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", command, *arguments], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert re.search(r"loading small; http://127.0.0.1:\d+/health tells", process.stderr.readline())
            line = process.stderr.readline()
            found = re.search(r"^t5x-lite serve: small \(step 0\) at (http://127\.0\.0\.1:\d+)/v1", line)
            assert found, line
            body = json.dumps(RIGHT | {"model": "small"}).encode()
            request = urllib.request.Request(f"{found[1]}/v1/completions", body, JSON)
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                assert json.load(response)["choices"][0]["text"] == alone("one", max_new_tokens=NEW)
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["in front", "in the background"])
def ctrl_c(request):
    """What Ctrl-C does in child processes: a shell without job control has jobs in the background ignore it."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_sigterm_ends_the_command_with_0_at_every_moment_of_loading(tmp_path, ctrl_c):
    checkpoint = tmp_path / "small"
    save_hf(pretrained().model, pretrained().tokenizer, checkpoint)
    arguments = [sys.executable, "-m", "t5x_lite", "serve", "--checkpoint", str(checkpoint), "--port", "0"]
    for moment in range(7):
        with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                assert "loading small" in process.stderr.readline()
                time.sleep(0.5 * moment)
                process.send_signal(signal.SIGTERM)
                assert process.wait(SECONDS) == 0, f"{moment}: {process.stderr.read()}"
                assert "Traceback" not in process.stderr.read()
            finally:
                process.kill()


def test_a_directory_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="is neither a run directory"):
        serve(options(checkpoint=str(tmp_path)))


def test_an_address_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"--host 127.0.0.1 --port {port} \(.*in use"):
            serve(options(checkpoint=str(tmp_path), port=port))


def test_serving_other_machines_without_a_key_is_warned_about(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(server_module, "listening_socket", lambda options: socket.create_server(("127.0.0.1", 0)))
    warnings = []
    for fields in ({"host": "0.0.0.0"}, {"host": "0.0.0.0", "api_key": "secret"}, {}):
        with pytest.raises(ValueError, match="is neither"):
            serve(options(checkpoint=str(tmp_path), **fields))
        warnings.append("warning: 0.0.0.0 accepts connections from other machines" in capsys.readouterr().err)
    assert warnings == [True, False, False]


def test_loopback_is_known():
    assert all(map(is_loopback, ["127.0.0.1", "127.5.0.1", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "192.168.1.5", "::", "example.com"]))


def test_the_models_name_is_its_directorys(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert model_name(options(checkpoint="runs/mine/")) == "mine"
    assert model_name(options(checkpoint=".")) == "here"
    assert model_name(options(checkpoint="runs/mine", model_name="other")) == "other"


def test_an_address_of_ipv6_has_brackets():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert url(listener, "::1") == f"http://[::1]:{port}"
        assert url(listener, "localhost") == f"http://localhost:{port}"
