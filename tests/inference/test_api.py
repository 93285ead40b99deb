"""Tests t5x_lite/inference/api.py."""

import dataclasses

import numpy as np
import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference import api
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
LINES = ["The <extra_id_0> fox", "no blank, but ümlauts"]


@pytest.fixture(scope="module")
def pretrained():
    return Pretrained(tiny.model(CFG), ByteTokenizer(100), CFG, 1)


def test_generate_takes_settings_and_returns_texts(pretrained):
    one = api.generate(pretrained, LINES[:2], max_new_tokens=4)
    assert [type(text) for text in one] == [str, str]
    assert one == [api.generate(pretrained, [line], max_new_tokens=4)[0] for line in LINES]
    several = api.generate(pretrained, LINES[:2], max_new_tokens=4, num_beams=2, num_return_sequences=2)
    assert [len(texts) for texts in several] == [2, 2]
    settings = {"max_new_tokens": 4, "num_beams": 2, "length_penalty": 1.5}
    hf = api.generate(pretrained, LINES, beam_variant="hf", **settings)
    assert hf == api.generate(pretrained, LINES, beam_rules="hf", **settings)  # the former name
    with pytest.raises(ValueError, match="top_p is 2"):
        api.generate(pretrained, LINES[:1], temperature=1.0, top_p=2.0)


@pytest.mark.parametrize("inputs", ["Good morning", b"Good", {"Good": 1}, np.array("Good"), [b"Good"]])
def test_one_text_is_refused_not_answered_letter_by_letter(pretrained, inputs):
    with pytest.raises(TypeError, match=r"^inputs(\[0\])? is "):
        api.generate(pretrained, inputs)


def test_inputs_are_not_left_out_by_a_batch_size_of_0(pretrained):
    with pytest.raises(ValueError, match="batch_size is 0"):
        api.generate(pretrained, LINES, batch_size=0)


def test_a_generator_or_an_array_of_texts_is_answered_like_a_list(pretrained):
    expected = api.generate(pretrained, LINES, max_new_tokens=3)
    for inputs in ((line for line in LINES), np.array(LINES), np.array(LINES, object)):
        assert api.generate(pretrained, inputs, max_new_tokens=3) == expected
