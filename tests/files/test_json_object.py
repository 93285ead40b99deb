"""Tests t5x_lite/files/json_object.py"""

import pytest

from t5x_lite.files.json_object import read_json


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
