"""Tests t5x_lite/data/tokenizers/directory.py; tests/checkpoints/hf/test_tokenizer.py tests T5's and ByT5's."""

import json

import pytest

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers import build_tokenizer
from t5x_lite.data.tokenizers.base import SpecialIds
from t5x_lite.data.tokenizers.directory import is_model_directory, read_directory
from tests.data.tokenizers.test_sentencepiece import foreign_model

MADLAD = {"unk_id": 0, "bos_id": 1, "eos_id": 2}  # padding is <s>, as only the files beside the model say


@pytest.fixture
def madlad(tmp_path):
    """A directory with a model that has no piece for padding."""
    directory = tmp_path / "madlad"
    directory.mkdir()
    (directory / "spiece.model").write_bytes(foreign_model(tmp_path / "model", **MADLAD).read_bytes())
    return directory


def write(directory, **files):
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


NAMED = {"pad_token": "<s>", "eos_token": "</s>", "extra_ids": 0}
WITH_OPTIONS = {"pad_token": {"content": "<s>", "lstrip": False}}


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config": NAMED},
        {"tokenizer_config": {"extra_ids": 0}, "special_tokens_map": WITH_OPTIONS},
        {"tokenizer_config": {"extra_ids": 0}, "config": {"pad_token_id": 1, "eos_token_id": [2, 9]}},
        {"tokenizer_config": {"extra_ids": 0, "pad_token": "<none>"}, "config": {"pad_token_id": 1}},
    ],
)
def test_special_ids_are_those_of_the_named_tokens_or_else_the_models(madlad, files):
    tokenizer = read_directory(write(madlad, **files))
    assert tokenizer.special_ids == SpecialIds(1, 2, 0)
    assert tokenizer.num_sentinels == 0
    assert build_tokenizer(TokenizerConfig(path=str(madlad)), ()).special_ids == SpecialIds(1, 2, 0)


def test_a_directory_that_names_no_padding_is_refused(madlad):
    with pytest.raises(ValueError, match=r"madlad/spiece.model has the padding id -1 and the EOS id 2"):
        read_directory(madlad)


@pytest.mark.parametrize(("num_spare", "num_sentinels"), [(100, 100), (128, 100), (99, 0), (0, 0)])
def test_sentinels_for_which_the_model_has_no_rows_are_not_appended(madlad, num_spare, num_sentinels):
    num_pieces = read_directory(write(madlad, tokenizer_config=NAMED)).vocab_size
    fields = {"pad_token": "<s>", "tokenizer_class": "T5Tokenizer"}
    write(madlad, tokenizer_config=fields, config={"vocab_size": num_pieces + num_spare})
    assert read_directory(madlad).num_sentinels == num_sentinels


def test_a_tokenizer_goes_through_its_own_directory(madlad, tmp_path):
    tokenizer = read_directory(write(madlad, tokenizer_config=NAMED))
    own = tmp_path / "own"
    own.mkdir()
    tokenizer.save(own)
    assert json.loads((own / "vocabulary.json").read_text())["special_ids"] == {"pad": 1, "eos": 2, "unk": 0}
    again = read_directory(own)
    assert (again.special_ids, again.encode("ab"), again.num_sentinels) == (
        SpecialIds(1, 2, 0),
        tokenizer.encode("ab"),
        0,
    )


def test_a_directory_of_vocabulary_files_alone_is_none_of_a_model(madlad):
    assert not is_model_directory(madlad)
    assert is_model_directory(write(madlad, config={}))


def test_the_map_of_special_tokens_counts_only_without_a_decoder_of_added_ones(madlad):
    """As in transformers 5.24."""
    fields, special = {"extra_ids": 0, "pad_token": "<unk>"}, {"pad_token": "<s>"}
    assert read_directory(write(madlad, tokenizer_config=fields, special_tokens_map=special)).pad_id == 1
    assert read_directory(write(madlad, tokenizer_config=fields | {"added_tokens_decoder": {}})).pad_id == 0
