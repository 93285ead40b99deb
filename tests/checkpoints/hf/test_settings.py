"""Tests t5x_lite/checkpoints/hf/settings.py"""

import dataclasses
import json

import pytest

from t5x_lite.checkpoints.hf.generation import read_generation_config
from t5x_lite.checkpoints.hf.settings import unfollowed_settings
from t5x_lite.checkpoints.load import load, save_hf
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests import tiny
from tests.checkpoints.hf import published


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


def test_usual_values_are_not_reported(tmp_path):
    assert unfollowed_settings(tmp_path) is None
    usual = {"truncation_side": "right", "split_special_tokens": False, "chat_template": None, "model_max_length": 512}
    write(tmp_path, config={"task_specific_params": None, "prefix": None}, tokenizer_config=usual)
    assert unfollowed_settings(tmp_path) is None


CONFIGS = {name: fields for name, (fields, _) in published.CONFIGS.items()}
CONFIGS |= {"Aya-101": published.AYA_101, "Flan-UL2": published.FLAN_UL2, "MADLAD-400": published.MADLAD_400_3B}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_models_are_opened_without_a_word(name, tmp_path):
    told = []
    write(tmp_path, config=CONFIGS[name], tokenizer_config=published.TOKENIZER)
    assert unfollowed_settings(tmp_path) is None
    assert read_generation_config(tmp_path, tell=told.append) == GenerationConfig()
    ids = {key: CONFIGS[name][key] for key in ("eos_token_id", "pad_token_id", "decoder_start_token_id")}
    write(tmp_path, generation_config=published.GENERATION | ids)
    assert read_generation_config(tmp_path, tell=told.append).stop_tokens == (ids["eos_token_id"],)
    assert told == []


def test_a_directory_with_such_settings_is_loaded_and_they_are_reported_once(tmp_path, capsys):
    directory = tmp_path / "hf"
    save_hf(tiny.model(dataclasses.replace(tiny.T5_1_1, vocab_size=384)), ByteTokenizer(), directory)
    fields = json.loads((directory / "config.json").read_text())
    write(directory, config=fields | {"prefix": "q: "}, generation_config={"num_beams": 4, "do_sample": True})
    load(directory)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("sets prefix 'q: ' (begin the inputs with it): ignored")
    assert second.endswith("its decoding settings are ignored")
