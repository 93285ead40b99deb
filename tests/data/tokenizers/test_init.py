"""Tests t5x_lite/data/tokenizers/__init__.py"""

import dataclasses
import json

import pytest

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers import build_tokenizer, load_tokenizer, tokenizer_hash
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model

TEXTS = [f"The {word} fox jumps over {n} lazy dogs." for word in ("quick", "brown") for n in range(9)]
NUM_SENTINELS, VOCAB_SIZE = 7, 47


@pytest.fixture(scope="module")
def model():
    return train_sentencepiece_model(TEXTS, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes", "bytes_and_sentinels"])
def test_a_saved_tokenizer_needs_no_config(kind, tmp_path):
    cfg = TokenizerConfig(kind=kind, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)
    made = build_tokenizer(cfg, TEXTS)
    made.save(tmp_path)
    loaded, text = load_tokenizer(tmp_path), "lazy <extra_id_6> dogs"
    assert type(loaded) is type(made)
    assert loaded.kind == json.loads((tmp_path / "vocabulary.json").read_text())["kind"] == kind
    assert (loaded.vocab_size, loaded.num_sentinels) == (made.vocab_size, NUM_SENTINELS)
    assert loaded.encode(text) == made.encode(text)


def test_a_saved_model_is_the_file_it_came_from(model, tmp_path):
    (tmp_path / "mine.model").write_bytes(model)
    cfg = TokenizerConfig(path=str(tmp_path / "mine.model"), num_sentinels=NUM_SENTINELS)
    build_tokenizer(cfg, []).save(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == model


def test_a_vocabulary_is_trained_only_where_none_is_named(model):
    trained = build_tokenizer(TokenizerConfig(vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS), iter(TEXTS))
    assert isinstance(trained, SentencePieceTokenizer)
    assert trained.content == model
    texts = iter(TEXTS)
    assert build_tokenizer(TokenizerConfig(kind="bytes"), texts).vocab_size == 259
    assert next(texts) == TEXTS[0]


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes", "bytes_and_sentinels"])
def test_added_tokens_are_part_of_any_tokenizer(kind, tmp_path):
    cfg = TokenizerConfig(kind=kind, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS, added_tokens=("{", "\n"))
    made = build_tokenizer(cfg, TEXTS)
    plain = build_tokenizer(dataclasses.replace(cfg, added_tokens=None), TEXTS)
    ids = [plain.next_id, plain.next_id + 1]
    assert made.encode("{\n") == [made.token_id("{"), made.token_id("\n")] == ids
    assert (made.sentinel_ids, made.vocab_size) == (plain.sentinel_ids, ids[-1] + 1)
    (tmp_path / "added").mkdir()
    made.save(tmp_path / "added")
    plain.save(tmp_path)
    assert tokenizer_hash(tmp_path / "added") != tokenizer_hash(tmp_path)
    more = load_tokenizer(tmp_path / "added").extended([AddedToken(text="}")])
    assert more.encode("{}") == [ids[0], ids[-1] + 1]


def test_a_directory_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocabulary.json does not exist: is .* the directory of a run"):
        load_tokenizer(tmp_path)


def test_a_kind_that_is_not_known_is_refused(tmp_path):
    (tmp_path / "vocabulary.json").write_text('{"kind": "runes", "num_sentinels": 3}')
    with pytest.raises(ValueError, match=r"vocabulary.json has the kind 'runes', not one of sentencepiece"):
        load_tokenizer(tmp_path)
