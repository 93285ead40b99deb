"""Tests t5x_lite/data/tokenizers/added_files.py; tests/checkpoints/hf/test_parity.py compares with transformers."""

import json
import shutil

import pytest

from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.directory import read_directory
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model

NUM_SENTINELS, V = 7, 50


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    texts = [f"The quick brown fox jumps over the lazy dog {i} {'abcdefgh'[i % 8]}" for i in range(60)]
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    path.write_bytes(train_sentencepiece_model(texts, vocab_size=V, num_sentinels=NUM_SENTINELS))
    return path


def token(text, **flags):
    return {"content": text, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False} | flags


def read(directory, vocabulary, **files):
    shutil.copy(vocabulary, directory / "spiece.model")
    files = {"tokenizer_config": {}} | files
    files["tokenizer_config"] = {"tokenizer_class": "T5Tokenizer", "extra_ids": NUM_SENTINELS} | files[
        "tokenizer_config"
    ]
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return read_directory(directory)


MASK = AddedToken(text="<mask>", id=V + 1, lstrip=True, special=True, normalized=True)
SPECIAL_HL = AddedToken(text="<hl>", id=V, special=True)
HL, SEP = AddedToken(text="<hl>", id=V, normalized=True), AddedToken(text="<sep>", id=V + 1, normalized=True)
SPECIAL = {"special": True, "normalized": False}
DECODER = {"0": token("<pad>", **SPECIAL), str(V - 1): token("<extra_id_0>", **SPECIAL)}
LISTED = {"additional_special_tokens": ["<extra_id_0>", "<sep>"]}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ()),
        ({"added_tokens": {"<hl>": V, "<sep>": V + 1}}, (HL, SEP)),
        ({"added_tokens": {"</s>": 1, "<extra_id_6>": V - 7, "<hl>": V}}, (HL,)),
        ({"tokenizer_config": {"added_tokens_decoder": DECODER | {str(V): token("<hl>")}}}, (HL,)),
        ({"tokenizer": {"added_tokens": [{"id": V, **token("<hl>")}, {"id": 0, **token("<pad>")}]}}, (HL,)),
        # A decoder counts alone, as in transformers.
        ({"tokenizer_config": {"added_tokens_decoder": DECODER}, "added_tokens": {"<hl>": V}}, ()),
        (
            {"added_tokens": {"<sep>": V}, "special_tokens_map": LISTED},
            (AddedToken(text="<sep>", id=V, special=True),),
        ),
        ({"tokenizer_config": LISTED}, (AddedToken(text="<sep>", id=V, special=True),)),
        (
            {"tokenizer_config": {"mask_token": token("<mask>", lstrip=True), "bos_token": "<s>", "eos_token": "</s>"}},
            (AddedToken(text="<s>", id=V, special=True), MASK),
        ),
        ({"tokenizer_config": {"hl_token": "<hl>"}}, (SPECIAL_HL,)),
        ({"tokenizer_config": {"extra_special_tokens": {"hl": "<hl>"}}}, (SPECIAL_HL,)),
    ],
)
def test_tokens_are_found_in_every_file_that_transformers_reads(files, expected, vocabulary, tmp_path):
    tokenizer = read(tmp_path, vocabulary, **files)
    assert tokenizer.added_tokens == expected
    assert tokenizer.vocab_size == V + len(expected)
    assert tokenizer.sentinel_ids == range(V - NUM_SENTINELS, V)
    for added in expected:
        assert tokenizer.encode(f"fox {added.text}dog")[-2 - len(tokenizer.encode("dog")) :].count(added.id) == 1


def test_byt5s_added_tokens_are_those_above_its_rows(tmp_path):
    decoder = {str(i): token(text) for i, text in enumerate(("<pad>", "</s>", "<unk>"))}
    decoder |= {str(259 + n): token(f"<extra_id_{n}>") for n in range(125)} | {"384": token("<hl>")}
    fields = {"tokenizer_class": "ByT5Tokenizer", "added_tokens_decoder": decoder}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(fields))
    tokenizer = read_directory(tmp_path)
    assert isinstance(tokenizer, ByteTokenizer)
    assert [(added.text, added.id) for added in tokenizer.added_tokens] == [("<hl>", 384)]


def test_a_named_token_for_which_the_model_has_no_row_is_left_out_and_reported(vocabulary, tmp_path, capsys):
    tokenizer = read(
        tmp_path, vocabulary, tokenizer_config=LISTED | {"mask_token": "<m>"}, config={"vocab_size": V + 1}
    )
    assert [added.text for added in tokenizer.added_tokens] == ["<m>"]
    assert "has no rows for the tokens <sep>: they are left out" in capsys.readouterr().err


def test_a_sentinel_with_another_id_is_reported(vocabulary, tmp_path, capsys):
    assert read(tmp_path, vocabulary, added_tokens={"<extra_id_0>": 5}).added_tokens == ()
    assert f"gives <extra_id_0> the id 5: {V - 1} is used" in capsys.readouterr().err


def test_a_sentinel_beyond_the_vocabularys_is_an_added_token(vocabulary, tmp_path):
    tokenizer = read(tmp_path, vocabulary, added_tokens={"<extra_id_7>": V})
    assert (tokenizer.encode("<extra_id_7>"), tokenizer.num_sentinels) == ([V], NUM_SENTINELS)


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config": {"added_tokens_decoder": []}},
        {"tokenizer_config": {"added_tokens_decoder": {"x": token("<hl>")}}},
        {"tokenizer_config": {"added_tokens_decoder": {str(V): "<hl>"}}},
        {"added_tokens": {"<hl>": "50"}},
        {"added_tokens": {"<hl>": -1}},
        {"tokenizer": {"added_tokens": [7]}},
        {"tokenizer": {"added_tokens": None}},
        {"tokenizer": {"added_tokens": [{"content": "<hl>"}]}},
    ],
)
def test_a_malformed_file_is_refused_by_name(files, vocabulary, tmp_path):
    with pytest.raises(ValueError, match=r"download it again$"):
        read(tmp_path, vocabulary, **files)


@pytest.mark.parametrize("added", [{"<hl>": 5}, {"<hl>": V, "<sep>": V}, {"<hl>": 10**8}])
def test_an_id_of_another_token_is_refused_by_name(added, vocabulary, tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path}: .*cannot have the added token '<"):
        read(tmp_path, vocabulary, added_tokens=added)


def test_a_piece_of_the_vocabulary_may_be_an_added_token(vocabulary, tmp_path):
    plain = SentencePieceTokenizer.from_file(vocabulary, NUM_SENTINELS)
    piece = plain._processor.id_to_piece(12)
    tokenizer = read(tmp_path, vocabulary, added_tokens={piece: 12})
    assert (tokenizer.vocab_size, tokenizer.encode(piece)) == (V, [12])
