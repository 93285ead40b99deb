"""Tests t5x_lite/data/tokenizers/train.py"""

import hashlib
import itertools
import os
import subprocess
import sys
import tracemalloc

import pytest
import sentencepiece

from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import (
    MAX_LINE_BYTES,
    fit_sentencepiece_model,
    sample_lines,
    train_sentencepiece_model,
)
from tests.paths import ROOT

TEXTS = [
    f"The {a} fox {v} over {n} lazy dogs." for a in ("quick", "brown") for v in ("jumps", "leaps") for n in range(9)
]
NUM_SENTINELS, VOCAB_SIZE = 7, 47


@pytest.fixture(scope="module")
def model():
    return train_sentencepiece_model(TEXTS, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)


def numbered(count, width=20):
    """Documents of two lines and an empty one, the lines numbered and all of them as long."""
    for i in range(0, count, 2):
        yield f"{i:0{width}}\n\n{i + 1:0{width}}\n"


def test_a_text_within_the_limit_is_taken_whole_and_counted():
    sample = sample_lines(iter(["one\n\n two \n", "", "zwölf"]), max_bytes=14)
    assert sample == (["one", " two ", "zwölf"], 3, 14, 14)


@pytest.mark.parametrize(("num_lines", "max_bytes"), [(1_000, 19_999), (1_000, 1_000), (1_000, 730), (4_096, 500)])
def test_lines_of_a_longer_text_are_taken_at_even_distances_up_to_the_limit(num_lines, max_bytes):
    sample = sample_lines(numbered(num_lines), max_bytes)
    numbers = [int(line) for line in sample.lines]
    assert sample.num_bytes == 20 * num_lines
    assert sample.num_documents == num_lines // 2
    assert 0.9 * max_bytes - 20 < sample.num_sampled_bytes == 20 * len(numbers) <= max_bytes
    gaps = {after - before for before, after in itertools.pairwise(numbers)}
    even = num_lines / len(numbers)
    assert max(gaps) <= 2 * even
    assert min(gaps) > 0
    assert numbers[0] == 0
    assert num_lines - numbers[-1] <= 2 * even + 1


def test_a_text_is_read_once_and_kept_in_bounded_memory():
    max_bytes = 1_000
    texts = numbered(8_000)
    tracemalloc.start()
    sample = sample_lines(texts, max_bytes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert next(texts, None) is None
    assert sample.num_bytes == 160_000
    assert peak < 30 * max_bytes  # a Python string of 20 characters takes 70 bytes, and its place in a list 8


def test_one_line_is_kept_however_long():
    assert sample_lines(["x" * 100, "y"], max_bytes=3).lines == ["x" * 100]


@pytest.mark.parametrize("character", ["a", "é", "世", "🙂"])
@pytest.mark.parametrize("spaced", [True, False])
def test_lines_that_sentencepiece_would_leave_out_are_cut(character, spaced):
    line = (character * 9 + " ") * 1_500 if spaced else character * 15_000
    lines = sample_lines([line], max_bytes=10**6).lines
    assert len(lines) > 1
    assert "".join(lines) == line
    assert max(len(part.encode()) for part in lines) <= MAX_LINE_BYTES
    if spaced:
        assert {word for part in lines for word in part.split()} == {character * 9}


def test_the_bytes_of_a_line_count_and_not_its_characters():
    assert [len(part) for part in sample_lines(["\u4e16" * 1_398]).lines] == [1_048, 350]  # 4,194 bytes
    assert sample_lines(["\u4e16" * 1_397]).lines == ["\u4e16" * 1_397]


def test_a_line_that_sentencepiece_takes_is_not_cut():
    line = "four " * 838  # 4,190 bytes
    assert sample_lines([line]).lines == [line]


def test_a_document_on_one_line_can_be_trained_on():
    tokenizer = SentencePieceTokenizer(
        train_sentencepiece_model([" ".join(TEXTS * 5)], vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS),
        NUM_SENTINELS,
    )
    assert tokenizer.decode(tokenizer.encode("The quick fox")) == "The quick fox"


def test_texts_may_be_an_iterator(model):
    again = train_sentencepiece_model(iter(TEXTS), vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)
    assert again == model


def test_training_is_deterministic_and_quiet(model):
    """In a process of its own: SentencePiece's log level, once set, stays for the process."""
    code = (
        "import hashlib, t5x_lite.data.tokenizers.train as t\n"
        f"model = t.train_sentencepiece_model({TEXTS}, vocab_size={VOCAB_SIZE}, num_sentinels={NUM_SENTINELS})\n"
        "print(hashlib.sha256(model).hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == (hashlib.sha256(model).hexdigest() + "\n", "")


def test_a_vocabulary_of_sentinels_alone_is_refused():
    with pytest.raises(ValueError, match=r"vocab_size 100 leaves 0 pieces beside 100 sentinels"):
        train_sentencepiece_model(TEXTS, vocab_size=100)


@pytest.mark.parametrize("texts", [[], ["", " \n\t"]])
def test_no_text_is_refused(texts):
    with pytest.raises(ValueError, match=r"there is no text to train a vocabulary on: name a source"):
        train_sentencepiece_model(texts, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)


def test_bpe_merges_frequent_pairs():
    bpe = fit_sentencepiece_model(TEXTS, vocab_size=80, num_sentinels=NUM_SENTINELS, model_type="bpe")
    processor = sentencepiece.SentencePieceProcessor(model_proto=bpe)
    assert processor.encode("The fox", out_type=str) == ["\u2581The", "\u2581fox"]
    assert [processor.get_score(i) for i in range(3, 7)] == [
        0,
        -1,
        -2,
        -3,
    ]  # merges are numbered, in log-probabilities' place
    assert (processor.pad_id(), processor.eos_id(), processor.unk_id(), processor.bos_id()) == (0, 1, 2, -1)


def test_character_coverage_decides_whether_a_rare_character_has_a_piece():
    texts, sizes = [*TEXTS * 3, "\u4e16"], {"vocab_size": 60, "num_sentinels": NUM_SENTINELS, "model_type": "bpe"}
    covered, rare = (fit_sentencepiece_model(texts, character_coverage=share, **sizes) for share in (1.0, 0.99))
    assert 2 not in SentencePieceTokenizer(covered).encode("\u4e16")
    assert 2 in SentencePieceTokenizer(rare).encode("\u4e16")


def test_byte_fallback_leaves_no_character_unknown():
    fallback = fit_sentencepiece_model(TEXTS, vocab_size=304, num_sentinels=NUM_SENTINELS, byte_fallback=True)
    tokenizer = SentencePieceTokenizer(fallback, NUM_SENTINELS)
    assert tokenizer.decode(tokenizer.encode("fox \u4e16")) == "fox \u4e16"
    assert tokenizer.pieces("\u4e16")[-3:] == ["<0xE4>", "<0xB8>", "<0x96>"]
