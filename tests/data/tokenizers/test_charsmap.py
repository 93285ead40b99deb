"""Tests t5x_lite/data/tokenizers/charsmap.py"""

import numpy as np
import pytest

from t5x_lite.data.tokenizers.charsmap import check_charsmap
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer, parse_options
from t5x_lite.data.tokenizers.train import train_sentencepiece_model


@pytest.fixture(scope="module")
def model():
    words = [f"word{number} the quick brown fox of {number % 7}" for number in range(300)]
    return train_sentencepiece_model(words, vocab_size=57, num_sentinels=5)


@pytest.fixture(scope="module")
def charsmap(model):
    return parse_options(model).normalizer_spec.precompiled_charsmap


def test_the_map_of_t5_is_whole_and_replaces_a_character_by_33_bytes_at_most(charsmap):
    assert check_charsmap(charsmap, "x") == 33
    assert check_charsmap(b"", "x") == 0


def changed(charsmap, change):
    size = int.from_bytes(charsmap[:4], "little")
    units, texts = np.frombuffer(charsmap, "<u4", size // 4, 4).copy(), charsmap[4 + size :]
    match change:
        case "an index beyond the trie":
            units[0] = (2**21 - 1) << 10
        case "a replacement beyond the end":
            units[np.flatnonzero(units >> 31)[0]] = 2**31 + len(texts)
        case "no end":
            texts = texts[:-1]
        case "half":
            return charsmap[: len(charsmap) // 2]
        case "only a size":
            return charsmap[:4]
        case "no trie":
            size = 0
        case "a size beyond the end":
            size = 2**32 - 1024
        case "long":
            texts = b"x" * 300 + texts[300:]
    return size.to_bytes(4, "little") + units.tobytes() + texts


@pytest.mark.parametrize(
    "change",
    [
        "an index beyond the trie",
        "a replacement beyond the end",
        "no end",
        "half",
        "only a size",
        "no trie",
        "a size beyond the end",
    ],
)
def test_a_map_that_its_readers_would_follow_out_of_bounds_is_refused(charsmap, change):
    with pytest.raises(ValueError, match=r"^x has a damaged map of characters: download it again$"):
        check_charsmap(changed(charsmap, change), "x")


def test_a_map_that_makes_texts_long_is_refused(charsmap):
    with pytest.raises(ValueError, match=r"^x replaces a character by \d+ bytes: download it again$"):
        check_charsmap(changed(charsmap, "long"), "x")


def test_the_map_of_a_sentencepiece_model_is_checked_when_it_is_opened(model, charsmap):
    damaged = changed(charsmap, "an index beyond the trie")
    with pytest.raises(ValueError, match="x has a damaged map of characters"):
        SentencePieceTokenizer(model.replace(charsmap, damaged), 5, name="x")
