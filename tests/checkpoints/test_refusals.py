"""Tests t5x_lite/checkpoints/refusals.py"""

import pathlib

import pytest

from t5x_lite.checkpoints.load import FORMATS, load
from t5x_lite.checkpoints.refusals import is_part_of_a_model, why_no_model
from tests.files.test_git_lfs import POINTER


def why(path):
    """The message, which is one line."""
    message = why_no_model(pathlib.Path(path), FORMATS)
    assert "\n" not in message
    assert "--checkpoint" not in message
    return message


@pytest.mark.parametrize(
    ("given", "hub_id"),
    [
        ("google/flan-t5-small", "google/flan-t5-small"),
        ("t5-small", "t5-small"),
        ("https://huggingface.co/google/mt5-base/", "google/mt5-base"),
        ("huggingface.co/google/mt5-base/tree/main", "google/mt5-base"),
        ("hf://Salesforce/codet5p-220m", "Salesforce/codet5p-220m"),
    ],
)
def test_an_id_of_the_hub_says_what_to_download_and_how(given, hub_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = hub_id.split("/")[-1]
    assert f"hf download {hub_id} --local-dir {name}), then name {name}" in why(given)


@pytest.mark.parametrize("given", ["/no/such/model", "../a/b", "a/b/c", "a b", "~/x"])
def test_another_path_that_does_not_exist_says_so(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        why(given)
        == f"{given} does not exist: name a run directory, a Hugging Face model directory or a T5X checkpoint"
    )


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "config.json", "flax_model.msgpack", "x.PT"]
)
def test_a_file_in_place_of_its_directory_names_the_directory(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80")
    assert is_part_of_a_model(tmp_path / name)
    with pytest.raises(
        ValueError, match=rf"{name} is a file, not a model directory: name the directory .* {tmp_path}$"
    ):
        load(tmp_path / name)


def test_a_file_of_t5x_is_no_part_of_a_model_directory(tmp_path):
    for name in ("checkpoint", "checkpoint_1000", "mine.msgpack"):
        (tmp_path / name).write_bytes(b"\x80")
        assert not is_part_of_a_model(tmp_path / name)
    assert not is_part_of_a_model(tmp_path)


@pytest.mark.parametrize("inner", ["text_encoder_2", "snapshots/0e9f", "0_Transformer"])
def test_a_directory_around_models_names_them(inner, tmp_path):
    (tmp_path / inner).mkdir(parents=True)
    (tmp_path / inner / "config.json").write_text("{}")
    assert (
        why(tmp_path) == f"{tmp_path} is not a model itself, but there are models in it: name one of {tmp_path / inner}"
    )


def test_weights_without_their_config_are_named(tmp_path):
    (tmp_path / "model.safetensors").touch()
    assert why(tmp_path) == f"{tmp_path} has model.safetensors, but no config.json: download all files of the model"


def test_a_directory_of_something_else_says_what_is_missing(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert why(tmp_path).startswith(f"{tmp_path} is neither a run directory (no config.yaml), nor a Hugging Face model")


def test_a_config_that_is_a_git_lfs_pointer_is_named_as_such(tmp_path):
    (tmp_path / "config.json").write_text(POINTER)
    (tmp_path / "model.safetensors.index.json").write_text(POINTER)
    with pytest.raises(ValueError, match=r"index.json is a Git LFS pointer"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "config.yaml"])
def test_a_link_that_leads_nowhere_is_named_as_such(name, tmp_path):
    (tmp_path / name).symlink_to("gone")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=rf"/{name} is a link that leads nowhere, to gone: restore that file"):
        load(tmp_path)


def test_a_link_to_no_model_is_no_name_on_the_hub(tmp_path):
    (tmp_path / "model").symlink_to("gone")
    with pytest.raises(ValueError, match=r"/model is a link that leads nowhere, to gone: name the model itself"):
        load(tmp_path / "model")
