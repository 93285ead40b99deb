"""Tests t5x_lite/checkpoints/hf/settings.py"""

import dataclasses
import json

import pytest

from t5x_lite.checkpoints.hf.settings import unfollowed_settings
from t5x_lite.checkpoints.load import load, save_hf
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests import tiny


def write(directory, **files):
    for name, fields in files.items():
        (directory / f"{name}.json").write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        ({}, {"truncation_side": "left"}, "truncation_side 'left'"),
        (
            {},
            {"split_special_tokens": True, "chat_template": "{}"},
            "split_special_tokens True, chat_template '{}'",
        ),
        ({"prefix": "q: "}, {}, "prefix 'q: ' (begin the inputs with it)"),
        (
            {"prefix": "q: "},
            {"clean_up_tokenization_spaces": True},
            "prefix 'q: ' (begin the inputs with it), clean_up_tokenization_spaces True",
        ),
    ],
)
def test_settings_that_are_not_followed_are_named_in_one_line(config, tokenizer, expected, tmp_path):
    write(tmp_path, config=config, tokenizer_config=tokenizer)
    assert unfollowed_settings(tmp_path) == f"{tmp_path} sets {expected}: ignored"


def test_usual_values_are_not_told(tmp_path):
    assert unfollowed_settings(tmp_path) is None
    usual = {"truncation_side": "right", "split_special_tokens": False, "chat_template": None, "model_max_length": 512}
    write(tmp_path, config={"task_specific_params": None, "prefix": None}, tokenizer_config=usual)
    assert unfollowed_settings(tmp_path) is None


def test_a_directory_with_such_settings_is_loaded_and_they_are_told_once(tmp_path, capsys):
    directory = tmp_path / "hf"
    save_hf(tiny.model(dataclasses.replace(tiny.T5_1_1, vocab_size=384)), ByteTokenizer(), directory)
    fields = json.loads((directory / "config.json").read_text())
    write(directory, config=fields | {"prefix": "q: "}, generation_config={"num_beams": 4, "do_sample": True})
    load(directory)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("sets prefix 'q: ' (begin the inputs with it): ignored")
    assert second.endswith("its decoding settings are ignored")
