"""Tests t5x_lite/checkpoints/hf/embedding.py against the rules of transformers 5.24; test_parity.py runs it."""

import itertools
import pathlib

import numpy as np
import pytest

from t5x_lite.checkpoints.hf.embedding import INPUTS, LM_HEAD, SHARED, with_one_embedding
from tests.checkpoints.layouts import Array

NAMES = (SHARED, *INPUTS, LM_HEAD)
TABLES = {letter: np.full((7, 3), letter == "b", np.float32) for letter in "ab"}


def arrays(letters):
    """Arrays in the order of NAMES: `a` and `b` are two tables, and - is none."""
    found = {name: Array(TABLES[letter].copy()) for name, letter in zip(NAMES, letters, strict=True) if letter != "-"}
    return found | {"x": Array(np.ones(2))}


def tables(letters, **options):
    """The letters of the embedding and, if it is untied, of the output layer."""
    found = with_one_embedding(arrays(letters), pathlib.Path("here"), **options)
    assert found.keys() - {SHARED, LM_HEAD} == {"x"}
    letter = lambda name: "b" if found[name].read()[0, 0] else "a"  # noqa: E731
    return "".join(letter(name) for name in (SHARED, LM_HEAD) if name in found)


def by_transformers(letters):
    """What the encoder, the decoder and the output layer have after `tie_weights`, written out as it does it."""
    shared, *others = letters
    for place, letter in enumerate(others):
        if letter == "-" and shared == "-":
            others[place] = next((other for other in others[place + 1 :] if other != "-"), "-")
        elif letter == "-":
            others[place] = shared
        elif shared == "-":
            shared = letter
    return others


@pytest.mark.parametrize("letters", ["".join(letters) for letters in itertools.product("ab-", repeat=4)])
def test_the_tables_are_those_that_transformers_uses(letters):
    encoder, decoder, output = by_transformers(letters)
    if letters == "----":
        assert tables(letters) == ""
    elif encoder != decoder:
        with pytest.raises(ValueError, match=r"here has \S+ different from \S+, but a T5 has one embedding"):
            tables(letters)
    else:
        assert tables(letters) == (encoder if encoder == output else encoder + output)


@pytest.mark.parametrize(("letters", "use"), [("abb-", "the former the output layer"), ("abba", "not used")])
def test_a_table_that_contradicts_the_embedding_is_reported(letters, use):
    told = []
    tables(letters, tell=told.append)
    assert len(told) == 1
    assert "has shared.weight different from encoder.embed_tokens.weight" in told[0]
    assert told[0].endswith(use)


@pytest.mark.parametrize("letters", ["a---", "a-aa", "aaab", "--ab", "-aa-"])
def test_copies_are_not_worth_reporting(letters):
    told = []
    tables(letters, tell=told.append)
    assert told == []


def test_the_output_layer_of_another_shape_is_not_the_embedding():
    found = with_one_embedding({SHARED: Array(np.ones((7, 3))), LM_HEAD: Array(np.ones((8, 3)))}, pathlib.Path("here"))
    assert found[LM_HEAD].shape == (8, 3)
