"""Tests t5x_lite/files/json_object.py"""

import re

import pytest

from t5x_lite.files.json_object import MAX_BYTES_OF_A_VOCABULARY, read_json, read_json_if_there


def test_an_object_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, "é"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, "é"]}


def test_what_is_no_object_is_refused_by_name(tmp_path):
    for content, message in (
        (b"{", "cannot be read as JSON"),
        (b"\xff", "cannot be read"),
        (b"[1]", "is not a JSON object"),
    ):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(ValueError, match=rf"a.json {message}"):
            read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"b.json does not exist"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "a.json cannot be read as JSON (it is nested too deeply): it is damaged"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "a.json cannot be read as JSON (Exceeds the limit"),
        (b"[" + b"0," * 4_000_000 + b"0]", "a.json has 4,000,001 values, more than any such file"),
        (b" " * (2**23 + 1), "a.json has 8,388,609 bytes, more than any such file, 8,388,608"),
    ],
)
def test_a_file_beyond_a_limit_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_json(tmp_path / "a.json")


def test_a_vocabulary_may_be_larger_than_other_files(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "' + b"x" * 2**23 + b'"}')
    with pytest.raises(ValueError, match="more than any such file"):
        read_json_if_there(tmp_path / "a.json")
    assert len(read_json_if_there(tmp_path / "a.json", MAX_BYTES_OF_A_VOCABULARY)["a"]) == 2**23
