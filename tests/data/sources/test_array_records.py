"""Tests t5x_lite/data/sources/array_records.py"""

import json
import os
import random

import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from t5x_lite.data.sources.array_records import ArrayRecords
from t5x_lite.data.sources.base import BadRecord
from tests.data.sources.reading import read, where


def write(path, *records, options=""):
    writer = ArrayRecordWriter(str(path), options)
    for record in records:
        writer.write(record)
    writer.close()
    return path


def feature(key, value):
    """An entry of a tf.train.Example with one text, as the wire format has it."""
    inner = bytes([10, len(value)]) + value
    inner = bytes([10, len(inner)]) + inner
    inner = bytes([10, len(key)]) + key + bytes([18, len(inner)]) + inner
    return bytes([10, len(inner)]) + inner


@pytest.mark.parametrize("options", ["group_size:1", "group_size:7,uncompressed", ""])
def test_records_are_read_in_any_order(tmp_path, options):
    contents = [json.dumps({"n": i, "text": "\u00e9" * i}).encode() for i in range(100)]
    source = ArrayRecords(write(tmp_path / "a.array_record", *contents, options=options))
    assert len(source) == 100
    assert read(source, 99, 0, 41) == [{"n": i, "text": "\u00e9" * i} for i in (99, 0, 41)]
    assert where(source, 6) == [f"{tmp_path / 'a.array_record'} record 6"]


def test_a_record_is_a_json_object_an_example_or_text(tmp_path):
    inner = feature(b"title", b"T") + feature(b"text", b"abc")
    contents = [b' {"a": 1}', bytes([10, len(inner)]) + inner, "\nr\u00e9sum\u00e9".encode(), b"[1]"]
    source = ArrayRecords(write(tmp_path / "a", *contents))
    assert read(source) == [
        {"a": 1},
        {"title": "T", "text": "abc"},
        {"text": "\nr\u00e9sum\u00e9"},
        {"text": "[1]"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": ', r"record 1 is not valid JSON \(Expecting value, column 7\): fix or remove the record"),
        (b'{"a": "\xff"}', r"record 1 is not UTF-8 \(its byte 7 is 0xff\)"),
        (b"\x00\x01\x02", r"record 1 is binary: make each record a JSON object, UTF-8 text or a tf.train.Example"),
        (b"\xff\xfe", "record 1 is binary"),
    ],
)
def test_an_unknown_record_is_an_error_and_the_others_are_read(tmp_path, content, message):
    source = ArrayRecords(write(tmp_path / "a", b"one", content, b"three"))
    with pytest.raises(BadRecord, match=message):
        read(source, 1)
    assert read(source, 2) == [{"text": "three"}]


@pytest.mark.parametrize("content", ["cut", "half", b"", b"plain text", "random", "altered end"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = write(tmp_path / "a.array_record", *[bytes([i]) * 3_000 for i in range(32, 120)], options="group_size:1")
    whole = path.read_bytes()
    match content:
        case "cut":
            content = whole[:-1]
        case "half":
            content = whole[: len(whole) // 2]
        case "random":
            content = random.Random(0).randbytes(2**17)
        case "altered end":
            content = whole[: -(2**16)] + bytes([whole[-(2**16)] ^ 1]) + whole[-(2**16) + 1 :]
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a.array_record is not a complete array_record file \(.+\): fetch or write it again"
    ):
        ArrayRecords(path)


def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path):
    contents = [random.Random(i).randbytes(1_000).hex().encode() for i in range(50)]
    path = write(tmp_path / "a", *contents, options="group_size:1,uncompressed")
    content = bytearray(path.read_bytes())
    content[content.index(contents[17]) + 500] ^= 1
    path.write_bytes(content)
    records = [record for _, record in ArrayRecords(path).read(range(50))]
    bad = records.pop(17)
    assert isinstance(bad, BadRecord)
    assert f"{path} record 17 is damaged (" in str(bad)
    assert records == [{"text": content.decode()} for i, content in enumerate(contents) if i != 17]


def test_an_empty_file_has_no_records(tmp_path):
    assert len(ArrayRecords(write(tmp_path / "a"))) == 0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"absent.array_record"):
        ArrayRecords(tmp_path / "absent.array_record")


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path):
    path = write(tmp_path / "a", b"one", b"two")
    source = ArrayRecords(path)
    assert read(source, 1) == [{"text": "two"}]
    write(path, b"three", b"four")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"a has changed since it was opened: run again"):
        read(source, 1)
    assert read(ArrayRecords(path), 1) == [{"text": "four"}]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts open files in /proc")
def test_files_are_open_only_while_they_are_read(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    sources = [ArrayRecords(write(tmp_path / f"{i}", str(i).encode())) for i in range(30)]
    assert [read(source)[0]["text"] for source in sources] == [str(i) for i in range(30)]
    assert len(os.listdir("/proc/self/fd")) - before <= 5
