"""Tests t5x_lite/inference/few_shot.py"""

import collections

import pytest

from t5x_lite.data.tokenizers import ByteTokenizer
from t5x_lite.inference.few_shot import Prompt, PromptMaker, draw_shots

SHOTS = [("a", "1"), ("bb", "22"), ("ccc", "3")]
PAIRS = [(f"text {number}", "rare" if number % 10 == 0 else "often") for number in range(50)]


def test_examples_come_before_what_is_to_be_answered():
    assert PromptMaker(SHOTS[:2], ByteTokenizer())("dd").text == "a\n1\n\nbb\n22\n\ndd"


def test_without_examples_a_prompt_is_its_inputs():
    assert PromptMaker([], ByteTokenizer())("d d ") == Prompt("d d ", 0, 5)


def test_a_layout_may_name_inputs_and_targets_as_it_likes():
    maker = PromptMaker(SHOTS[:1], ByteTokenizer(), layout="Q: {inputs}\nA: {targets}", separator="\n")
    assert maker("why").text == "Q: a\nA: 1\nQ: why\nA:"


def test_a_prompt_that_is_too_long_loses_whole_examples_from_the_first_on():
    whole = PromptMaker(SHOTS, ByteTokenizer())("d")
    assert (whole.num_shots, whole.num_tokens) == (3, len(whole.text) + 1)
    for most_tokens, text in (
        (whole.num_tokens, whole.text),
        (whole.num_tokens - 1, "bb\n22\n\nccc\n3\n\nd"),
        (9, "ccc\n3\n\nd"),
        (8, "d"),
    ):
        prompt = PromptMaker(SHOTS, ByteTokenizer(), most_tokens)("d")
        assert prompt.text == text
        assert prompt.num_tokens == len(text) + 1 <= most_tokens


def test_inputs_are_never_cut():
    assert PromptMaker(SHOTS, ByteTokenizer(), 4)("0123456789") == Prompt("0123456789", 0, 11)


def test_a_seed_draws_the_same_examples_each_once():
    drawn = draw_shots(PAIRS, 20, seed=3)
    assert drawn == draw_shots(PAIRS, 20, seed=3)
    assert drawn != draw_shots(PAIRS, 20, seed=4)
    assert len(set(drawn)) == 20
    assert set(drawn) <= set(PAIRS)


def test_balanced_examples_have_each_targets_as_often():
    for num_shots, counts in ((4, [2, 2]), (7, [3, 4]), (10, [5, 5]), (13, [5, 8])):  # there are five rare ones
        drawn = draw_shots(PAIRS, num_shots, seed=1, balanced=True)
        assert sorted(collections.Counter(targets for _, targets in drawn).values()) == counts
        assert len(set(drawn)) == num_shots


def test_more_examples_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="shots is 4, and there are 3 examples: use fewer, or give more"):
        draw_shots(SHOTS, 4, seed=0)
