"""Tests t5x_lite/interop/hf_generation.py."""

import json

import pytest

from t5x_lite.config import GenerationConfig
from t5x_lite.interop.hf_generation import read_generation_config

T5S = {"_from_model_config": True, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def read(directory, content, told=None):
    (directory / "generation_config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_generation_config(directory, tell=(told if told is not None else []).append)


def test_what_t5s_models_come_with_is_greedy_choice(tmp_path):
    told = []
    config = read(tmp_path, T5S | {"transformers_version": "5.0.0", "top_k": 50, "temperature": 0.9}, told)
    assert config == GenerationConfig(stop_tokens=(1,))
    assert told == []


def test_a_directory_without_the_file_says_nothing(tmp_path):
    assert read_generation_config(tmp_path) is None


def test_sampling_is_read_with_its_defaults(tmp_path):
    config = read(tmp_path, {"do_sample": True, "top_p": 0.9, "num_return_sequences": 3})
    assert config == GenerationConfig(temperature=1.0, top_k=50, top_p=0.9, num_return_sequences=3)


def test_beams_go_by_the_rules_of_transformers(tmp_path):
    config = read(tmp_path, {"num_beams": 4, "early_stopping": False, "no_repeat_ngram_size": 3})
    expected = {"num_beams": 4, "length_penalty": 1.0, "beam_rules": "hf", "no_repeat_ngram_size": 3}
    assert config == GenerationConfig(**expected)
    assert read(tmp_path, {"num_beams": 2, "length_penalty": 2.0}).length_penalty == 2.0


def test_lengths_that_count_the_start_token_are_made_lengths_of_new_ones(tmp_path):
    config = read(tmp_path, {"max_length": 20, "min_length": 5})
    assert (config.max_new_tokens, config.min_new_tokens) == (19, 4)
    assert read(tmp_path, {"max_length": 20, "max_new_tokens": 7}).max_new_tokens == 7


def test_tokens_that_end_and_tokens_that_are_banned_are_read(tmp_path):
    config = read(tmp_path, {"eos_token_id": [1, 5], "suppress_tokens": [7], "bad_words_ids": [[9], [8]]})
    assert (config.stop_tokens, config.banned_tokens) == ((1, 5), (7, 9, 8))


def test_what_is_not_followed_is_told(tmp_path):
    told = []
    read(tmp_path, T5S | {"early_stopping": True, "penalty_alpha": 0.6, "bad_words_ids": [[1, 2]]}, told)
    (line,) = told
    assert "early_stopping True" in line
    assert "penalty_alpha 0.6" in line
    assert "bad_words_ids [[1, 2]]" in line


@pytest.mark.parametrize("content", ["{", "[1]", '{"max_new_tokens": -4}', '{"num_beams": "many"}', "\x00"])
def test_a_damaged_file_is_named(content, tmp_path):
    with pytest.raises(ValueError, match=r"generation_config\.json.*(download it again|mend the file|delete it)"):
        read(tmp_path, content)
