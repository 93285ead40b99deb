"""Tests t5x_lite/data/sources/file_content.py"""

import os

import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.file_content import check_unchanged, decoded, file_key, json_object, state_of


def test_a_json_object_is_a_record():
    assert json_object('{"a": [1, null], "b": "\\u00e9"}', "here") == {"a": [1, None], "b": "\u00e9"}


@pytest.mark.parametrize("text", ['{"b": 1, "a": 2, "a": 2}', '{"c": [{"a": 1, "a": 2}]}'])
def test_a_key_that_is_given_twice_is_refused(text):
    with pytest.raises(BadRecord, match=r"^here is not valid JSON \(the key 'a' is given twice\): fix or remove"):
        json_object(text, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"here is not valid JSON \(Expecting property name .*, column 2\): fix or remove the record"),
        ('"text"', r"here is a JSON str: make each record an object"),
        ('{"a": ' + "[" * 100_000, "here is not valid JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "here is not valid JSON"),
    ],
)
def test_anything_but_a_json_object_is_refused(text, message):
    with pytest.raises(BadRecord, match=message):
        json_object(text, "here")


def test_bytes_that_are_not_utf8_are_an_error():
    assert decoded("\u00e9\0".encode(), "here") == "\u00e9\0"
    with pytest.raises(BadRecord, match=r"here is not UTF-8 \(its byte 1 is 0xe9\): convert the file to UTF-8"):
        decoded(b"a\xe9", "here")
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(BadRecord, match=r"with iconv -f utf-16 -t utf-8$"):
            decoded("\ufeffa".encode(encoding), "here")


def test_the_state_of_a_file_is_that_of_its_descriptor(tmp_path):
    (tmp_path / "a").write_text("12345")
    with (tmp_path / "a").open() as file:
        assert state_of(file.fileno()) == state_of(tmp_path / "a")
    assert state_of(tmp_path / "a")[0] == 5


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_an_error_and_has_another_key(tmp_path, change):
    path = tmp_path / "a.b.txt"
    path.write_text("12345")
    before, key = state_of(path), file_key(path)
    assert file_key(path) == key
    check_unchanged("called", before, state_of(path))
    path.write_text("123456" if change == "size" else "12346")
    os.utime(path, ns=(0, before[1] + (change == "time")))
    with pytest.raises(ValueError, match=r"^called has changed since it was opened: run again when nothing is writing"):
        check_unchanged("called", before, state_of(path))
    assert file_key(path) != key
    assert file_key(path).startswith("a-")


def test_files_of_the_same_name_in_two_folders_have_two_keys(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("same")
        os.utime(tmp_path / folder / "a", ns=(0, 7))
    assert file_key(tmp_path / "x" / "a") != file_key(tmp_path / "y" / "a")
