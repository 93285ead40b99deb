"""Tests t5x_lite/commands/serve.py"""

import importlib.util
import sys
import types

import pytest

from t5x_lite.commands import serve
from tests.serving.models import options


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
