"""Tests t5x_lite/commands/serve.py"""

import importlib.util
import signal
import subprocess
import sys
import types

import pytest

from t5x_lite.checkpoints.load import save_hf
from t5x_lite.commands import serve
from tests.paths import ROOT
from tests.processes import START
from tests.serving.models import SECONDS, options, pretrained


@pytest.fixture
def served(monkeypatch):
    """The options that the server is started with, which is not."""
    seen, module = [], types.ModuleType("t5x_lite.serving.server")
    module.serve = seen.append
    monkeypatch.setitem(sys.modules, "t5x_lite.serving.server", module)
    monkeypatch.setattr(serve, "REQUIRED", ("json",))
    return seen


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find("json"))
    with pytest.raises(ValueError, match=r"serve needs uvicorn: pip install 't5x-lite\[serve\]'"):
        serve.run(options())


def test_the_key_is_the_options_or_the_environments(served, monkeypatch):
    monkeypatch.delenv(serve.API_KEY, raising=False)
    serve.run(options())
    monkeypatch.setenv(serve.API_KEY, "of the environment")
    serve.run(options())
    serve.run(options(api_key="given"))
    assert [chosen.api_key for chosen in served] == [None, "of the environment", "given"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", [["--checkpoint", "DIR"], ["--checkpoint", "DIR", "--port", "-1"]], ids=["model", "port"]
)
def test_a_mistake_has_the_exit_status_2_in_one_line(wrong, tmp_path):
    for name in serve.REQUIRED:
        pytest.importorskip(name, reason="the extra serve is not installed")
    ended = subprocess.run(
        [sys.executable, "-c", START, "serve", "--checkpoint", str(tmp_path), "--port", "0", *wrong],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_server_that_is_told_to_stop_ends_with_0(number, tmp_path):
    for name in serve.REQUIRED:
        pytest.importorskip(name, reason="the extra serve is not installed")
    save_hf(pretrained().model, pretrained().tokenizer, tmp_path / "small")
    command = [sys.executable, "-c", START, "serve", "--checkpoint", str(tmp_path / "small"), "--port", "0"]
    with subprocess.Popen([*command, "--batch_size", "1"], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            for line in process.stderr:
                if "/v1, press Ctrl-C to stop" in line:
                    process.send_signal(number)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
