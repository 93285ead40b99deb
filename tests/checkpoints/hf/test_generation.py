"""Tests t5x_lite/checkpoints/hf/generation.py"""

import dataclasses
import json
import pathlib
import re

import pytest

from t5x_lite.checkpoints.hf.generation import read_generation_config
from t5x_lite.checkpoints.load import load, save_hf
from t5x_lite.commands import convert
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests import tiny

GOLDEN = pathlib.Path(__file__).parent / "golden"
# As published beside google/flan-t5-small.
PUBLISHED = {
    "_from_model_config": True,
    "decoder_start_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "transformers_version": "4.27.0.dev0",
}


def read(directory, told=None, **fields):
    (directory / "generation_config.json").write_text(json.dumps(PUBLISHED | fields))
    return read_generation_config(directory, tell=[].append if told is None else told.append)


def same(**fields):
    return GenerationConfig(**{"stop_tokens": (1,)} | fields)


def test_a_directory_without_the_file_says_nothing(tmp_path):
    assert read_generation_config(tmp_path, tell=print) == GenerationConfig()


def test_a_published_file_is_greedy_and_ends_at_its_eos(tmp_path):
    told = []
    assert read(tmp_path, told) == same()
    assert told == []


@pytest.mark.parametrize("family", sorted(path.name for path in GOLDEN.iterdir()))
def test_what_transformers_writes_is_read_without_a_complaint(family):
    told = []
    eos_id = json.loads((GOLDEN / family / "config.json").read_text())["eos_token_id"]
    assert read_generation_config(GOLDEN / family, tell=told.append) == same(stop_tokens=(eos_id,))
    assert told == []


def test_a_summarizer_s_settings_are_read_by_the_rules_of_transformers(tmp_path):
    fields = {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "max_length": 200, "min_length": 30}
    expected = same(
        num_beams=4,
        length_penalty=2.0,
        no_repeat_ngram_size=3,
        max_new_tokens=199,  # the token that starts the decoder is no new one
        min_new_tokens=29,
        beam_variant="hf",
    )
    assert read(tmp_path, **fields) == expected


def test_beams_have_the_length_penalty_of_transformers_unless_the_file_says_another(tmp_path):
    assert read(tmp_path, num_beams=2) == same(num_beams=2, length_penalty=1.0, beam_variant="hf")
    assert read(tmp_path, num_beams=1) == same()


@pytest.mark.parametrize(
    ("fields", "most", "fewest"),
    [
        ({"max_new_tokens": 50, "max_length": 20}, 50, 0),
        ({"max_length": 2, "min_length": 1}, 1, 0),
        ({"min_new_tokens": 4, "min_length": 9}, 64, 4),
        ({"min_length": 0}, 64, 0),
    ],
)
def test_limits_of_new_tokens_come_before_limits_of_all(tmp_path, fields, most, fewest):
    assert read(tmp_path, **fields) == same(max_new_tokens=most, min_new_tokens=fewest)


def test_sampling_has_the_defaults_of_transformers(tmp_path):
    assert read(tmp_path, do_sample=True) == same(temperature=1.0, top_k=50)


def test_a_file_that_samples_is_followed(tmp_path):
    fields = {"temperature": 0.7, "top_k": 0, "top_p": 0.9, "min_p": 0.05, "num_return_sequences": 3}
    assert read(tmp_path, do_sample=True, **fields) == same(**fields)


@pytest.mark.parametrize("do_sample", [False, None])
def test_settings_of_sampling_say_nothing_where_nothing_is_drawn(tmp_path, do_sample):
    told = []
    fields = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.05}
    assert read(tmp_path, told, do_sample=do_sample, **fields) == same()
    assert told == []


def test_what_is_null_is_not_given(tmp_path):
    told = []
    fields = dict.fromkeys(("max_length", "num_beams", "eos_token_id", "bad_words_ids", "top_k", "typical_p"))
    assert read(tmp_path, told, **fields) == GenerationConfig()
    assert told == []


def test_several_ends_and_what_is_never_chosen_are_read(tmp_path):
    told = []
    found = read(tmp_path, told, eos_token_id=[1, 9], suppress_tokens=[5, 6], bad_words_ids=[[8], [7]])
    assert found == same(stop_tokens=(1, 9), banned_tokens=(5, 6, 8, 7))
    assert told == []


def test_bad_words_of_several_tokens_are_told_and_those_of_one_are_banned(tmp_path):
    told = []
    assert read(tmp_path, told, bad_words_ids=[[8], [7, 4]]) == same(banned_tokens=(8,))
    assert [line.split(" sets ")[1] for line in told] == [
        "bad_words_ids [[8], [7, 4]]: unsupported, ignored",
    ]


def test_a_penalty_on_repetitions_is_read(tmp_path):
    assert read(tmp_path, repetition_penalty=1.2) == same(repetition_penalty=1.2)


def test_what_is_not_followed_is_told_in_one_line_with_its_values(tmp_path):
    told = []
    fields = {"early_stopping": True, "typical_p": 0.9, "num_beam_groups": 1, "max_time": 3.5, "use_cache": False}
    assert read(tmp_path, told, **fields) == same()
    path = tmp_path / "generation_config.json"
    assert told == [f"{path} sets early_stopping True, typical_p 0.9, max_time 3.5: unsupported, ignored"]


def test_values_that_change_nothing_are_not_reported(tmp_path):
    told = []
    fields = {"early_stopping": False, "typical_p": 1.0, "epsilon_cutoff": 0.0, "encoder_no_repeat_ngram_size": 0}
    read(tmp_path, told, **fields, output_scores=True, renormalize_logits=False)
    assert told == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_length": "20"}, "max_length '20'"),
        ({"max_new_tokens": 20.5}, "max_new_tokens 20.5"),
        ({"num_beams": True}, "num_beams True"),
        ({"temperature": "hot"}, "temperature 'hot'"),
        ({"length_penalty": [1]}, "length_penalty [1]"),
        ({"do_sample": "false"}, "do_sample 'false'"),
        ({"eos_token_id": "1"}, "eos_token_id '1'"),
        ({"eos_token_id": [1, None]}, "eos_token_id [1, None]"),
        ({"suppress_tokens": 5}, "suppress_tokens 5"),
        ({"bad_words_ids": [5]}, "bad_words_ids [5]"),
    ],
)
def test_a_value_of_the_wrong_kind_is_reported_and_left_out(tmp_path, fields, message):
    told = []
    found = read(tmp_path, told, **fields)
    assert dataclasses.replace(found, stop_tokens=()) == GenerationConfig()
    assert told == [f"{tmp_path / 'generation_config.json'} sets {message}: unsupported, ignored"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"do_sample": True, "num_beams": 4}, "num_beams is 4 and temperature is 1.0: beam search does not sample"),
        ({"top_p": 1.5, "do_sample": True}, "top_p is 1.5"),
        ({"num_beams": 0}, "num_beams is 0: use a number above 0"),
        ({"eos_token_id": -1}, r"stop_tokens has \[-1\]"),
    ],
)
def test_a_file_that_is_out_of_range_or_contradicts_itself_is_reported_and_left_out(tmp_path, fields, message):
    told = []
    assert read(tmp_path, told, **fields) == GenerationConfig()
    assert re.search(rf"generation_config.json: {message}.*; its decoding settings are ignored$", told[0])


def test_old_directories_have_their_decoding_settings_in_config_json(tmp_path):
    """The fields are those that transformers 5.24 takes from the same file."""
    fields = {
        "num_beams": 4,
        "max_length": 50,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
    }
    config = fields | {"forced_bos_token_id": 5, "eos_token_id": 1, "d_model": 8, "vocab_size": 40}
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = []
    found = read_generation_config(tmp_path, tell=told.append)
    expected = GenerationConfig(
        num_beams=4, max_new_tokens=49, length_penalty=2.0, no_repeat_ngram_size=3, beam_variant="hf"
    )
    assert found == expected
    settings = "early_stopping True, forced_bos_token_id 5"
    assert told == [f"{tmp_path / 'config.json'} sets {settings}: unsupported, ignored"]
    (tmp_path / "generation_config.json").write_text("{}")
    assert read_generation_config(tmp_path, tell=told.append) == GenerationConfig()


@pytest.mark.parametrize("name", ["generation_config", "config"])
def test_settings_go_there_and_back_with_every_eos(name, tmp_path):
    save_hf(tiny.model(dataclasses.replace(tiny.T5_1_1, vocab_size=384)), ByteTokenizer(), tmp_path / "made")
    path = tmp_path / "made" / f"{name}.json"
    settings = {"eos_token_id": [9, 1], "num_beams": 4, "early_stopping": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    if name == "config":
        (tmp_path / "made" / "generation_config.json").unlink()
    convert.run(str(tmp_path / "made"), str(tmp_path / "again"))
    written = json.loads((tmp_path / "again" / "generation_config.json").read_text())
    assert written == settings | {"decoder_start_token_id": 0, "pad_token_id": 0}
    assert json.loads((tmp_path / "again" / "config.json").read_text())["eos_token_id"] == 1
    assert load(tmp_path / "again").generation == load(tmp_path / "made").generation


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "cannot be read as JSON"), (b"\xff", "cannot be read"), (b"[1]", "is not a JSON object")],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, content, message):
    (tmp_path / "generation_config.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"generation_config.json {message}.*: it is damaged; download it again"):
        read_generation_config(tmp_path, tell=print)
