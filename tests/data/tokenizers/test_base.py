"""Tests t5x_lite/data/tokenizers/base.py"""

import numpy as np
import pytest

from t5x_lite.data.tokenizers.base import (
    SpecialIds,
    Tokenizer,
    check_special_ids,
    count_sentinels,
    read_vocabulary,
    trim,
)
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer


class Numbers(Tokenizer):
    """Ids as text, in a vocabulary of any size."""

    kind = "numbers"

    def __init__(self, vocab_size, num_sentinels):
        self.vocab_size, self.num_sentinels = vocab_size, num_sentinels

    def encode(self, text):
        return [int(word) for word in text.split()]

    def surfaces(self):
        return list(map(str, range(self.vocab_size)))

    def _decode_known(self, ids):
        return " ".join(map(str, ids))

    @classmethod
    def load(cls, directory, num_sentinels):
        raise NotImplementedError

    def extended(self, tokens):
        raise NotImplementedError

    def save(self, directory):
        super().save(directory)


@pytest.mark.parametrize(
    ("model", "vocab_size", "num_sentinels", "rows", "first_and_last_sentinel"),
    [
        ("T5", 32_100, 100, 32_128, (32_099, 32_000)),
        ("mT5", 250_100, 100, 250_112, (250_099, 250_000)),
        ("ByT5", 259, 100, 384, (258, 159)),
        ("a whole number of times 128", 384, 125, 384, (383, 259)),
    ],
)
def test_published_vocabularies_have_the_published_rows_and_sentinels(
    model, vocab_size, num_sentinels, rows, first_and_last_sentinel
):
    tokenizer = Numbers(vocab_size, num_sentinels)
    assert tokenizer.padded_vocab_size == rows, model
    assert (tokenizer.sentinel_id(0), tokenizer.sentinel_id(num_sentinels - 1)) == first_and_last_sentinel


@pytest.mark.parametrize("n", [-1, 3])
def test_a_sentinel_that_does_not_exist_is_refused(n):
    with pytest.raises(ValueError, match=rf"there is no <extra_id_{n}>: task.tokenizer.num_sentinels is 3"):
        Numbers(20, 3).sentinel_id(n)


def test_decoding_stops_at_eos_and_skips_padding():
    assert Numbers(20, 3).decode([0, 2, 19, 0, 5, 1, 7, 20]) == "2 19 5"


def test_ids_outside_the_vocabulary_are_decoded_like_the_unknown_token():
    assert Numbers(20, 3).decode([3, 20, -1, 10**6, 5]) == "3 2 2 2 5"
    without = Numbers(20, 3)
    without.unk_id = -1
    assert without.decode([20, 3, 4, 10**6, -1, 0, 5]) == " \u2047 3 4 \u2047  \u2047 5"
    assert without.decode([3, 4]) == "3 4"


def test_byte_tokenizers_drop_ids_outside_the_vocabulary_as_seqio_does():
    for tokenizer in (ByteTokenizer(), ByteAndSentinelTokenizer()):
        ids = [*tokenizer.encode("a\u00fc"), 10**6, -1, tokenizer.vocab_size, 2, *tokenizer.encode("z")]
        assert tokenizer.decode(ids) == "a\u00fcz"


def test_the_kind_and_the_number_of_sentinels_are_kept(tmp_path):
    Numbers(20, 3).save(tmp_path)
    assert (tmp_path / "vocabulary.json").read_text() == '{"kind": "numbers", "num_sentinels": 3}\n'


def test_a_missing_file_and_a_directory_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"task.tokenizer.path .*absent.model does not exist"):
        read_vocabulary(tmp_path / "absent.model")
    with pytest.raises(ValueError, match=r"is a directory: name the .model or tokenizer.json file in it"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model", "tokenizer.json"])
def test_a_directory_with_a_vocabulary_says_its_name(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"is a directory: use .*{name}$"):
        read_vocabulary(tmp_path)
    assert read_vocabulary(tmp_path / name) == b"x"


@pytest.mark.parametrize("found", [(0, 1, 2), (1, 2, 0), (0, 2, -1), (8, 3, 1)])
def test_special_ids_may_be_anywhere(found):
    check_special_ids(SpecialIds(*found), 9, "x", "y")


@pytest.mark.parametrize("found", [(-1, 1, 2), (0, -1, 2), (2, 2, 0), (0, 9, 2), (11, 1, 2)])
def test_a_vocabulary_without_padding_and_eos_is_refused_with_the_remedy(found):
    pad, eos, _ = found
    with pytest.raises(ValueError, match=rf"x has the padding id {pad} and the EOS id {eos} .* below 9: use y"):
        check_special_ids(SpecialIds(*found), 9, "x", "use y")


@pytest.mark.parametrize(
    ("ids", "stop_ids", "expected"),
    [
        ([5, 0, 6, 1, 0, 0], (1,), ([5, 0, 6], True)),
        ([5, 0, 6, 1, 0, 0], (), ([5, 0, 6, 1], False)),
        ([5, 7], (1, 9), ([5, 7], False)),
        ([0, 0], (1,), ([], False)),
    ],
)
def test_trimming_strips_padding_and_one_stop_token(ids, stop_ids, expected):
    assert trim(np.array(ids), stop_ids) == expected


def test_sentinels_count_only_at_the_end_and_descending():
    assert count_sentinels({}, 20, "x") == 0
    assert count_sentinels({0: 19, 2: 17, 1: 18}, 20, "x") == 3
    for wrong in ({0: 18}, {0: 18, 1: 19}, {1: 18}, {0: 19, 2: 17}):
        with pytest.raises(ValueError, match=r"x has <extra_id_N> pieces that do not descend from its last id"):
            count_sentinels(wrong, 20, "x")


@pytest.mark.parametrize("tokenizer", [Numbers(9, 0), ByteTokenizer()], ids=lambda tokenizer: tokenizer.kind)
@pytest.mark.parametrize("texts", ["12", b"12", {"1": 2}])
def test_one_text_is_not_a_batch_of_its_letters(tokenizer, texts):
    with pytest.raises(TypeError, match=r"^texts is .*: pass a list"):
        tokenizer.encode_batch(texts)
