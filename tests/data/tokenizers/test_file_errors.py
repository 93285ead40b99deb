"""Tests t5x_lite/data/tokenizers/file_errors.py"""

from t5x_lite.data.tokenizers.base import SpecialIds
from t5x_lite.data.tokenizers.file_errors import no_vocabulary, wrong_sentinels, wrong_special_ids


def test_a_directory_is_no_vocabulary_but_may_hold_one(tmp_path):
    assert str(no_vocabulary(tmp_path)).endswith("is a directory: name the .model or tokenizer.json file in it")
    (tmp_path / "spiece.model").write_bytes(b"x")
    assert str(no_vocabulary(tmp_path)).endswith(f"is a directory: use {tmp_path / 'spiece.model'}")


def test_a_missing_file_is_not_found(tmp_path):
    error = no_vocabulary(tmp_path / "a.model")
    assert isinstance(error, FileNotFoundError)
    assert f"task.tokenizer.path {tmp_path / 'a.model'} does not exist" in str(error)


def test_wrong_ids_are_shown_with_what_is_needed():
    error = wrong_special_ids(SpecialIds(0, -1, 2), 7, "a.model", "train it again")
    assert str(error).endswith("the EOS id -1 (-1: none), but t5x_lite needs two different ids below 7: train it again")
    assert "a.model has <extra_id_N> pieces that do not descend" in str(wrong_sentinels("a.model"))
