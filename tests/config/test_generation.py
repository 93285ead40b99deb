"""Tests t5x_lite/config/generation.py"""

import dataclasses
import re

import pytest

from t5x_lite.config.generation import GenerationConfig

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0: use a number above 0"),
        ({"max_new_tokens": 2**31}, "max_new_tokens is 2147483648: use at most 65,536"),
        ({"num_beams": 0}, "num_beams is 0: use a number above 0"),
        ({"num_beams": 65}, "num_beams is 65: use at most 64"),
        ({"num_return_sequences": -1}, "num_return_sequences is -1: use a number above 0"),
        ({"min_new_tokens": -2}, "min_new_tokens is -2: use 0 or more"),
        (
            {"min_new_tokens": 9, "max_new_tokens": 8},
            "min_new_tokens is 9: use at most max_new_tokens, 8",
        ),
        ({"temperature": -0.5}, "temperature is -0.5: use 0 (greedy) or a finite number"),
        ({"temperature": INF}, "temperature is inf: use 0 (greedy)"),
        ({"temperature": NAN}, "temperature is nan: use 0 (greedy)"),
        ({"top_k": -1}, "top_k is -1: use 0 or more"),
        ({"top_k": 2**31, "temperature": 1.0}, "top_k is 2147483648: use a number below 2**31"),
        ({"top_p": 0.0}, "top_p is 0.0: use a probability above 0 and at most 1"),
        ({"top_p": 1.01}, "top_p is 1.01: use a probability above 0 and at most 1"),
        ({"top_p": NAN}, "top_p is nan: use a probability"),
        ({"min_p": -0.1}, "min_p is -0.1: use a probability from 0 up to"),
        ({"min_p": 1.0}, "min_p is 1.0: use a probability from 0 up to"),
        ({"seed": -1}, "seed is -1: use 0 or more"),
        ({"seed": 2**32}, "seed is 4294967296: use a number below 2**32"),
        ({"length_penalty": -INF}, "length_penalty is -inf: use a finite number"),
        ({"length_penalty": NAN}, "length_penalty is nan: use a finite number"),
        ({"beam_variant": "HF"}, "beam_variant is 'HF': use t5x or hf"),
        ({"scores_as": "t5x"}, "scores_as is 't5x': use model or sampled"),
        ({"scores_as": "sampled", "num_beams": 2}, "num_beams is 2 and scores_as is sampled: beam search does not"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0: use a factor above 0; 1 has no effect"),
        ({"repetition_penalty": INF}, "repetition_penalty is inf: use a factor above 0"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1: use 0 or more"),
        ({"no_repeat_ngram_size": 17}, "no_repeat_ngram_size is 17: use at most 16"),
        ({"banned_tokens": (4, -1, -3)}, "banned_tokens has [-1, -3]: use ids from 0 up to the model's vocab_size"),
        ({"stop_tokens": (2**31, 5)}, "stop_tokens has [2147483648]: use ids from 0"),
        (
            {"num_beams": 4, "temperature": 0.5},
            "num_beams is 4 and temperature is 0.5: beam search does not sample, leave out one of them",
        ),
        (
            {"num_beams": 4, "num_return_sequences": 5},
            "num_return_sequences is 5: use at most num_beams, 4",
        ),
        (
            {"num_return_sequences": 2},
            "num_return_sequences is 2, but greedy decoding has one output: add temperature or num_beams",
        ),
        (
            {"top_k": 5, "top_p": 0.9, "min_p": 0.1},
            "top_k 5, top_p 0.9, min_p 0.1 given without sampling (temperature is 0): add temperature 1, or leave out "
            "top_k, top_p, min_p",
        ),
        ({"num_beams": 2, "top_p": 0.5}, "top_p 0.5 given without sampling (temperature is 0): leave out top_p"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_field_its_value_and_a_remedy(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        GenerationConfig(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_new_tokens": 1, "min_new_tokens": 1},
        {"num_beams": 64, "num_return_sequences": 64},
        {"temperature": 1e-9, "top_k": 2**31 - 1, "top_p": 1.0, "min_p": 0.999},
        {"temperature": 1.0, "top_p": 1e-9, "num_return_sequences": 70},
        {"seed": 2**32 - 1, "no_repeat_ngram_size": 16, "repetition_penalty": 1e-9},
        {"length_penalty": -2.0, "num_beams": 2, "beam_variant": "hf"},
        {"banned_tokens": (0,), "stop_tokens": (2**31 - 1,)},
    ],
)
def test_the_last_allowed_values_are_taken(fields):
    assert dataclasses.asdict(GenerationConfig(**fields)).items() >= fields.items()


def test_decoding_is_greedy_by_default():
    assert (GenerationConfig().temperature, GenerationConfig().num_beams) == (0, 1)


def test_a_changed_copy_is_checked_too():
    with pytest.raises(ValueError, match="top_p is 2"):
        dataclasses.replace(GenerationConfig(temperature=1.0), top_p=2)
