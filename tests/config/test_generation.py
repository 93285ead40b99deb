"""Tests t5x_lite/config/generation.py."""

import math
import re

import pytest

from t5x_lite.config import GenerationConfig

REFUSED = {
    "max_new_tokens is 0: use a number above 0": {"max_new_tokens": 0},
    "num_beams is -2: use a number above 0": {"num_beams": -2},
    "num_return_sequences is 0: use a number above 0": {"num_return_sequences": 0},
    "min_new_tokens is -1: use 0 or more": {"min_new_tokens": -1},
    "top_k is -3: use 0 or more": {"temperature": 1.0, "top_k": -3},
    "seed is -1: use 0 or more": {"seed": -1},
    "seed is 4294967296: use a number below": {"seed": 2**32},
    "no_repeat_ngram_size is 17: use at most 16": {"no_repeat_ngram_size": 17},
    "min_new_tokens is 9 and max_new_tokens 8: use at most that many": {"min_new_tokens": 9, "max_new_tokens": 8},
    "temperature is -0.1: use 0 (greedy) or a number above": {"temperature": -0.1},
    "temperature is nan: use 0": {"temperature": math.nan},
    "temperature is inf: use 0": {"temperature": math.inf},
    "top_p is 0: use a share above 0, at most 1": {"temperature": 1.0, "top_p": 0},
    "top_p is 1.1: use a share": {"temperature": 1.0, "top_p": 1.1},
    "min_p is 1.0: use a share from 0, below 1": {"temperature": 1.0, "min_p": 1.0},
    "repetition_penalty is 0.0: use a factor above 0": {"repetition_penalty": 0.0},
    "length_penalty is inf: use a finite number": {"length_penalty": math.inf},
    "num_beams is 65: use at most 64": {"num_beams": 65},
    "banned_tokens has [-1]: use ids from 0": {"banned_tokens": (3, -1)},
    "stop_tokens has [-7]: use ids from 0": {"stop_tokens": (-7,)},
    "num_beams is 2 and temperature 0.5: a beam search draws nothing": {"num_beams": 2, "temperature": 0.5},
    "num_return_sequences is 3 and num_beams 2: use at most": {"num_beams": 2, "num_return_sequences": 3},
    "num_return_sequences is 2, and greedy choice has one answer": {"num_return_sequences": 2},
    "top_k 5, top_p 0.5 with temperature 0, which draws nothing: add temperature 1": {"top_k": 5, "top_p": 0.5},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_makes_no_sense_is_refused_with_the_remedy(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        GenerationConfig(**REFUSED[message])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.1, "num_return_sequences": 5},
        {"num_beams": 64, "num_return_sequences": 64, "length_penalty": -1.0},
        {"min_new_tokens": 64, "seed": 2**32 - 1, "repetition_penalty": 0.5, "no_repeat_ngram_size": 16},
    ],
)
def test_what_makes_sense_is_taken(fields):
    config = GenerationConfig(**fields)
    assert {name: getattr(config, name) for name in fields} == fields
