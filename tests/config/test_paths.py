"""Tests t5x_lite/config/paths.py, and which fields of the configs are paths."""

import pathlib

import pytest

from t5x_lite.config import ModelOptions, RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.config.commands import (
    AttentionConfig,
    CompileConfig,
    EmbedConfig,
    InferConfig,
    PrepareConfig,
    ServeConfig,
    TokenizerTrainConfig,
)
from t5x_lite.config.paths import home_expanded


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("~", "/home/someone"),
        ("~/a b", "/home/someone/a b"),
        (pathlib.Path("~/a"), "/home/someone/a"),
        ("~root/x", f"{pathlib.Path('~root').expanduser()}/x"),
        ("a/~/b", "a/~/b"),
        ("./~", "./~"),
        ("hf:~/a", "hf:~/a"),
        ("-", "-"),
        ("", ""),
    ],
)
def test_a_leading_tilde_is_the_home_directory(path, expanded):
    assert home_expanded(path, "run_dir") == expanded


def test_an_unknown_user_is_refused_and_not_a_directory_to_make():
    with pytest.raises(ValueError, match=r"^run_dir '~no_such_user/a' begins with an unknown user: write .* or \./~no"):
        home_expanded("~no_such_user/a", "run_dir")


@pytest.mark.parametrize(
    ("config", "field", "others"),
    [
        (RunConfig, "run_dir", {}),
        (ModelOptions, "pretrained", {}),
        (TaskConfig, "prepared", {}),
        (TokenizerConfig, "path", {}),
        (PrepareConfig, "output", {}),
        (InferConfig, "checkpoint", {}),
        (InferConfig, "input", {"checkpoint": "run"}),
        (InferConfig, "output", {"checkpoint": "run"}),
        (EmbedConfig, "checkpoint", {}),
        (EmbedConfig, "input", {"checkpoint": "run"}),
        (EmbedConfig, "output", {"checkpoint": "run"}),
        (CompileConfig, "output", {}),
        (ServeConfig, "checkpoint", {}),
        (AttentionConfig, "checkpoint", {"text": "a"}),
        (AttentionConfig, "output", {"checkpoint": "run", "text": "a"}),
        (TokenizerTrainConfig, "output", {"input": ("a.txt",), "vocab_size": 300}),
    ],
)
def test_configs_hold_expanded_paths(config, field, others):
    assert getattr(config(**{field: "~/x.model"}, **others), field) == "/home/someone/x.model"
    with pytest.raises(ValueError, match=rf"{field} '~no_such_user' begins with an unknown user"):
        config(**{field: "~no_such_user"}, **others)


def test_texts_that_begin_with_a_tilde_stay_as_they_are():
    infer = InferConfig(checkpoint="run", template="~/{q}", targets_template="~", shot_separator="~/")
    assert (infer.template, infer.targets_template, infer.shot_separator) == ("~/{q}", "~", "~/")
    assert AttentionConfig(checkpoint="run", text="~/x").text == "~/x"
    assert TaskConfig(source="a.csv", inputs="~/{q}", targets="~").inputs == "~/{q}"
