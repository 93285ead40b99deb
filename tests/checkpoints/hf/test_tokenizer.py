"""Tests t5x_lite/checkpoints/hf/tokenizer.py"""

import json
import pathlib

import pytest

from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer, tokenizer_directory
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model

TEXT = "The quick brown fox jumps over the lazy dog, <extra_id_0> and back again."


@pytest.fixture(scope="module")
def model():
    texts = [f"{TEXT} {i} {'abcdefgh'[i % 8]}" for i in range(60)]
    return train_sentencepiece_model(texts, vocab_size=60, num_sentinels=7)


def test_sentencepiece_goes_there_and_back_with_its_sentinels(model, tmp_path):
    tokenizer = SentencePieceTokenizer(model, 7)
    save_tokenizer(tokenizer, tmp_path)
    assert (tmp_path / "spiece.model").read_bytes() == model
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["extra_ids"] == 7
    again = read_tokenizer(tmp_path)
    assert (again.vocab_size, again.encode(TEXT)) == (60, tokenizer.encode(TEXT))


def test_a_model_alone_has_the_hundred_sentinels_of_t5(model, tmp_path):
    (tmp_path / "spiece.model").write_bytes(model)
    assert read_tokenizer(tmp_path).num_sentinels == 100


def test_byt5_needs_no_file_but_its_name(tmp_path):
    save_tokenizer(ByteTokenizer(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer_config.json"]
    assert read_tokenizer(tmp_path).encode("é") == [0xC3 + 3, 0xA9 + 3]


def test_sentinels_that_hugging_face_has_elsewhere_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="has no equivalent in Hugging Face"):
        save_tokenizer(ByteAndSentinelTokenizer(100), tmp_path)


@pytest.mark.parametrize("num", [-1, "100", 2**40, True])
def test_a_senseless_number_of_sentinels_is_refused(model, tmp_path, num):
    (tmp_path / "spiece.model").write_bytes(model)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_ids": num}))
    with pytest.raises(ValueError, match=r"has extra_ids .*: it must be a number of sentinels"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("encoder", "beside"),
    [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"), ("text_encoder_3/", "tokenizer_3")],
)
def test_a_text_encoder_of_diffusers_has_its_tokenizer_beside_it(model, tmp_path, encoder, beside, monkeypatch):
    tokenizer = SentencePieceTokenizer(model, 7)
    for name in (encoder, beside):
        (tmp_path / name).mkdir()
    save_tokenizer(tokenizer, tmp_path / beside)
    assert tokenizer_directory(tmp_path / encoder) == tmp_path / beside
    monkeypatch.chdir(tmp_path / encoder)
    assert read_tokenizer(tokenizer_directory(pathlib.Path("."))).encode(TEXT) == tokenizer.encode(TEXT)
    save_tokenizer(ByteTokenizer(), tmp_path / encoder)
    assert tokenizer_directory(tmp_path / encoder) == tmp_path / encoder


def test_no_other_directory_has_its_tokenizer_beside_it(tmp_path):
    for name in ("text_encoder", "tokenizer", "my_model", "tokenizer_2"):
        (tmp_path / name).mkdir()
    assert tokenizer_directory(tmp_path / "my_model") == tmp_path / "my_model"
    (tmp_path / "my_model" / "0_Transformer").mkdir()
    assert tokenizer_directory(tmp_path / "my_model") == tmp_path / "my_model" / "0_Transformer"
    (tmp_path / "tokenizer").rmdir()
    with pytest.raises(ValueError, match=r"text_encoder has no tokenizer: put its spiece.model"):
        read_tokenizer(tokenizer_directory(tmp_path / "text_encoder"))


def test_a_directory_without_one_is_refused_with_what_to_put_there(tmp_path):
    with pytest.raises(ValueError, match=r"has no tokenizer: put its spiece.model or tokenizer.json there"):
        read_tokenizer(tmp_path)
