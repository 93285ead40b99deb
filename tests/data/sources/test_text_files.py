"""Tests t5x_lite/data/sources/text_files.py"""

import csv
import io
import json
import os
import pathlib
import re
import resource
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources import text_files
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.text_files import (
    BYTE_ORDER_MARK,
    Delimited,
    JsonLines,
    TextLines,
    TextParagraphs,
    WholeText,
    split_csv_rows,
    split_lines,
    split_paragraphs,
)
from tests.data.sources.reading import read, where

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b" ", b"\t", "\u00e9".encode()])).map(b"".join)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def texts(source):
    return [record["text"] for record in read(source)]


def split(content, splitter, *options):
    """The line and the content of each record; reading from any of them gives the same as reading all."""
    file = io.BytesIO(content)
    raw_records = list(splitter(file, 1, *options))
    for number, raw in enumerate(raw_records):
        file.seek(raw.offset)
        assert list(splitter(file, raw.line, *options)) == raw_records[number:]
    return [(raw.line, raw.content) for raw in raw_records]


def test_a_text_file_is_one_document_or_its_paragraphs_or_its_lines(write):
    path = write("\ufeffone\ntwo\n \n\nthree\r\n\r\nfour\n")
    assert texts(WholeText(path)) == ["one\ntwo\n \n\nthree\r\n\r\nfour\n"]
    assert texts(TextParagraphs(path)) == ["one\ntwo", "three", "four"]
    assert [place[-6:] for place in where(TextParagraphs(path), 0, 1, 2)] == ["line 1", "line 5", "line 7"]
    assert texts(TextLines(path)) == ["one", "two", " ", "three", "four"]


def test_json_lines_are_objects_and_empty_lines_are_skipped(write):
    source = JsonLines(write('{"a": 1}\n\n{"a": "é\\n"}'))
    assert read(source) == [{"a": 1}, {"a": "é\n"}]
    assert where(source, 1)[0].endswith("file line 3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": \n', r"line 2 is not valid JSON \(Expecting value, column 7\): fix or remove the record"),
        ('{"a": 1}\n[1]\n', "line 2 is a JSON list: make each record an object"),
        (b'{"a": 1}\n{"a": "\xff"}\n', r"line 2 is not UTF-8 \(its byte 7 is 0xff\): convert the file to UTF-8"),
        ('{"a": 1}\n' + "[" * 100_000, "line 2 is not valid JSON"),
        ('{"a": 1}\n{"a": ' + "9" * 5_000 + "}", r"line 2 is not valid JSON \(Exceeds the limit"),
    ],
)
def test_a_malformed_json_line_is_an_error_and_the_others_are_read(write, content, message):
    source = JsonLines(write(content))
    assert read(source, 0) == [{"a": 1}]
    with pytest.raises(BadRecord, match=message):
        read(source, 1)


def test_a_line_of_fifty_megabytes_is_a_record(write):
    source = JsonLines(write(json.dumps({"a": "x" * 50_000_000}) + '\n{"a": "y"}\n'))
    assert [len(record["a"]) for record in read(source)] == [50_000_000, 1]


def test_csv_takes_names_from_the_first_line_and_has_quoted_line_breaks(write):
    source = Delimited(write('\ufeffid,text\r\n1,"a ""b"",\r\nc"\r\n\r\n2,\u2028d\n'), delimiter=",")
    assert read(source) == [{"id": "1", "text": 'a "b",\r\nc'}, {"id": "2", "text": "\u2028d"}]
    assert [place[-6:] for place in where(source, 0, 1)] == ["line 2", "line 5"]


@given(st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=6)] * 3), max_size=5))
def test_a_table_written_by_python_is_read_back(rows):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("a", "b", "c"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "table.csv"
        path.write_bytes(written.getvalue().encode())
        assert [tuple(record.values()) for record in read(Delimited(path, delimiter=","))] == rows


@pytest.mark.parametrize(("delimiter", "columns"), [(",", None), ("\t", ("a", "b"))])
def test_words_for_missing_values_are_words_in_tables(write, delimiter, columns):
    words = [("nan", "NaN"), ("null", ""), ("None", "true")]
    lines = [delimiter.join(row) for row in (words if columns else [("a", "b"), *words])]
    records = read(Delimited(write("\n".join(lines)), delimiter=delimiter, columns=columns))
    assert [(record["a"], record["b"]) for record in records] == words
    assert Template("{a}, {b?}", "task.text")(records[0], "here") == "nan, NaN"


def test_quotes_mean_nothing_in_tab_separated_values(write):
    source = Delimited(write('he said "hi\ter sagte\nno\tnein'), delimiter="\t", columns=("en", "de"))
    assert read(source) == [{"en": 'he said "hi', "de": "er sagte"}, {"en": "no", "de": "nein"}]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("a,b\n1,2,3\n", BadRecord, r"line 2 has 3 values for 2 columns \(a, b\): fix or remove the line"),
        ("a,b\n\x00\xff,2\n".encode("latin-1"), BadRecord, "line 2 is not UTF-8"),
        ("a,a\n1,2\n", ValueError, r"has duplicate column names \(a, a\)"),
        ("a,b\n1,2\r3,4\n", ValueError, "line 2 is not valid CSV"),
        (b"a,\xff\n1,2\n", BadRecord, "line 1 is not UTF-8"),
    ],
)
def test_a_malformed_table_is_refused_by_line(write, content, error, message):
    with pytest.raises(error, match=message):
        read(Delimited(write(content), delimiter=","))


def test_a_quote_that_is_never_closed_is_one_bad_record(write):
    source = Delimited(write('a,b\n1,2\n3,"4\n' + "5,6\n" * 50_000), delimiter=",")
    assert len(source) == 2
    assert read(source)[0] == {"a": "1", "b": "2"}
    assert read(source)[1]["b"].startswith("4\n5,6")


@pytest.mark.parametrize("kind", [WholeText, TextLines, TextParagraphs, JsonLines])
def test_an_empty_file_has_no_records(write, kind):
    assert len(kind(write(""))) == 0


def test_the_header_is_the_first_line_that_is_not_empty(write):
    source = Delimited(write(b"\n\na\t\xff\n"), delimiter="\t", columns=("b", "c"))
    with pytest.raises(BadRecord, match="line 3 is not UTF-8"):
        read(source)
    with pytest.raises(BadRecord, match="line 3 is not UTF-8"):
        Delimited(write(b"\n\na,\xff\n"), delimiter=",")


def test_an_empty_table_has_no_records(write):
    assert len(Delimited(write(""), delimiter=",")) == 0
    assert len(Delimited(write("a,b\n"), delimiter=",")) == 0


def test_a_record_that_is_too_large_is_an_error(write, monkeypatch):
    monkeypatch.setattr("t5x_lite.data.sources.text_files.MAX_BYTES", 20)
    path = write("a\n" + "b" * 20 + "\n" + "c" * 21 + "\n" + "d" * 70 + "\ne\n")
    for kind, count in ((TextLines, 5), (TextParagraphs, 1), (WholeText, 1)):
        assert len(kind(path)) == count
    source = TextLines(path)
    assert read(source, 1)[0]["text"] == "b" * 20
    assert where(source, 4) == [f"{path} line 5"]
    for number in (2, 3):
        with pytest.raises(BadRecord, match=rf"line {number + 1} begins a record of more than 20 bytes: split it"):
            read(source, number)
    for kind in (TextParagraphs, WholeText):
        with pytest.raises(BadRecord, match=r"line 1 begins a record of more than 20 bytes: split it"):
            read(kind(path))


@pytest.mark.parametrize("change", ["cut", "longer", "other", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_named(write, change):
    path = write('{"a": 1}\n{"a": 2}\n')
    source = JsonLines(path)
    assert read(source, 0) == [{"a": 1}]
    match change:
        case "cut":
            os.truncate(path, 12)
        case "longer":
            path.write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
        case "other":
            path.write_text('{"a": 1}\n{"b": 2}\n')
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # a clock may be too coarse
        case "replaced":
            other = path.with_name("other")
            other.write_text('{"b": 1}\n{"b": 22}\n')
            reading = source.read([0, 1])
            next(reading)
            os.replace(other, path)
            assert next(reading).record == {"a": 2}  # the open file is still there
            assert read(JsonLines(path), 1) == [{"b": 22}]
    with pytest.raises(ValueError, match=r"file has changed since it was opened: run again when nothing is writing"):
        read(source, 1)


def test_more_files_than_a_process_may_open_are_a_source(tmp_path):
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd")) if pathlib.Path("/proc/self/fd").exists() else 100
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 10, hard))
        paths = [tmp_path / f"{i}.txt" for i in range(40)]
        for i, path in enumerate(paths):
            path.write_text(str(i))
        sources = [WholeText(path) for path in paths]
        assert [read(source)[0]["text"] for source in sources] == [str(i) for i in range(40)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@pytest.mark.parametrize("content", ["a,b\n1,2\n3,4\n", "", "\n\n"])
def test_a_large_file_is_read_through_once_by_all_its_readers(write, tmp_path, monkeypatch, content):
    monkeypatch.setattr(text_files, "MIN_INDEXED_BYTES", 0)
    path, cache = write(content), tmp_path / "cache"
    first = Delimited(path, "called", cache, delimiter=",")
    assert [file.suffix for file in cache.iterdir()] == [".npy"]
    monkeypatch.setattr(Delimited, "_index", lambda _: pytest.fail("read through again"))
    assert read(Delimited(path, None, cache, delimiter=",")) == read(first)


def test_a_large_file_that_has_changed_is_read_through_again(write, tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MIN_INDEXED_BYTES", 0)
    assert len(TextLines(write("1\n2\n"), None, tmp_path / "cache")) == 2
    path = write("1\n2\n3\n4\n5\n6\n7\n8\n")
    assert len(TextLines(path, None, tmp_path / "cache")) == 8


@pytest.mark.parametrize("damage", [b"", b"no index", "cut", np.zeros((3, 2)), np.zeros((4, 3), np.int64)])
def test_a_damaged_index_is_replaced(write, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(text_files, "MIN_INDEXED_BYTES", 0)
    path = write("one\ntwo\n\nfour\n")
    TextLines(path, None, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    if isinstance(damage, np.ndarray):
        with file.open("wb") as out:
            np.save(out, damage)
    else:
        file.write_bytes(whole[:-1] if damage == "cut" else damage)
    assert texts(TextLines(path, None, tmp_path / "cache")) == ["one", "two", "four"]
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_not_used(write, tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MIN_INDEXED_BYTES", 0)
    (tmp_path / "cache").write_text("a file where a directory should be")
    for _ in range(2):
        assert texts(TextLines(write("one\ntwo\n"), None, tmp_path / "cache")) == ["one", "two"]


def test_small_files_are_not_cached(write, tmp_path):
    TextLines(write("one\ntwo\n"), None, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("step", [1, 2, 3, 10])
@pytest.mark.parametrize("kind", ["lines", "rows", "paragraphs", "json"])
def test_reading_starts_at_any_record(write, monkeypatch, kind, step):
    monkeypatch.setattr(text_files, "RECORDS_PER_OFFSET", 3)
    ends = {"paragraphs": "\n\n \n"}.get(kind, "\n\n")
    lines = [
        json.dumps({"text": str(i)}) if kind == "json" else f'"{i}\n"' if kind == "rows" else str(i) for i in range(20)
    ]
    path = write("\ufeff" + ("text\n" if kind == "rows" else "") + ends.join(lines))
    source = {
        "lines": TextLines,
        "paragraphs": TextParagraphs,
        "json": JsonLines,
        "rows": lambda path: Delimited(path, delimiter=","),
    }[kind](path)
    everything, places = read(source), where(source, *range(20))
    assert [int(record["text"]) for record in everything] == list(range(20))
    for numbers in (range(0, 20, step), range(7, 20, step), range(19, -1, -step), [5, 5, 0, 19, 4]):
        assert read(source, *numbers) == [everything[i] for i in numbers]
        assert where(source, *numbers) == [places[i] for i in numbers]


def test_lines_and_paragraphs_of_a_file_have_separate_indices(write, tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MIN_INDEXED_BYTES", 0)
    path, cache = write('a,b\nc,"d\ne"\n\n1,2\n'), tmp_path / "cache"
    for _ in range(2):
        assert len(WholeText(path, None, cache)) == 1
        assert len(TextParagraphs(path, None, cache)) == 2
        assert len(TextLines(path, None, cache)) == 4
        assert len(Delimited(path, None, cache, delimiter=",", columns=("x", "y"))) == 3
        assert len(Delimited(path, None, cache, delimiter=",")) == 2


def test_a_table_of_ten_thousand_columns_is_read_and_its_errors_stay_short(write):
    names = [f"column{i}" for i in range(10_000)]
    source = Delimited(write(",".join(names) + "\n" + ",".join("x" * 10_000) + "\n1,2\n"), delimiter=",")
    assert len(read(source, 0)[0]) == 10_000
    with pytest.raises(BadRecord, match=r"has 2 values for 10000 columns \(column0, .* and 9,980 more\)") as error:
        read(source, 1)
    assert len(str(error.value)) < 1_000


def test_a_text_has_its_file_and_folder_as_fields(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "7.txt").write_text("good\n\nvery good\n")
    where = {"file": "7.txt", "folder": "pos"}
    assert read(TextParagraphs(tmp_path / "pos" / "7.txt"))[1] == {"text": "very good"} | where
    copy = tmp_path / "cache.txt"
    copy.write_text("good")
    assert read(WholeText(copy, str(tmp_path / "pos" / "7.txt")))[0] == {"text": "good"} | where


def lines_by_hand(content):
    lines = content.split(b"\n")
    return [(n, line.removesuffix(b"\r")) for n, line in enumerate(lines, 1) if line.removesuffix(b"\r")]


@given(PIECES)
def test_lines_are_between_line_ends_without_the_empty_ones(content):
    assert split(content, split_lines) == lines_by_hand(content)


@given(PIECES)
def test_paragraphs_are_between_blank_lines(content):
    expected, number = [], 1
    for lines in re.split(rb"^((?:[ \t\r]*\n)+)", content, flags=re.MULTILINE):
        if lines.strip():
            expected.append((number, lines.strip()))
        number += lines.count(b"\n")
    paragraphs = split(content, split_paragraphs)
    assert [(n, text.strip()) for n, text in paragraphs] == expected
    assert not any(text.endswith(b"\n") for _, text in paragraphs)


def test_a_byte_order_mark_belongs_to_no_record(write):
    path = write(BYTE_ORDER_MARK + b"a,b\n")
    assert [texts(kind(path)) for kind in (WholeText, TextLines, TextParagraphs)] == [["a,b\n"], ["a,b"], ["a,b"]]
    assert read(Delimited(path, delimiter=",", columns=("x", "y"))) == [{"x": "a", "y": "b"}]


def test_quoted_rows_may_contain_line_ends():
    content = b'a,"b\nc"\r\n\n"d""\n",e'
    assert split(content, split_csv_rows, "name") == [(1, b'a,"b\nc"\r\n'), (4, b'"d""\n",e')]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\rc,d\n", r"t.csv line 2 is not valid CSV \(new-line character .*\): fix the file"),
        (b'a\n"b\n' + b"c\n" * 6, r"t.csv line 6 is not valid CSV \(field larger .*, in a row that begins on line 2\)"),
        (b"a\n" + b"b" * 9, r"t.csv line 2 is not valid CSV \(it has more than 8 bytes\): fix the file"),
    ],
)
def test_invalid_quotes_and_line_ends_are_named(monkeypatch, content, message):
    monkeypatch.setattr(text_files, "MAX_CHARACTERS", 8)
    with pytest.raises(ValueError, match=message):
        list(split_csv_rows(io.BytesIO(content), 1, "t.csv"))


def test_utf_16_without_a_mark_is_refused_by_name(tmp_path):
    (tmp_path / "a.txt").write_bytes("Some words.".encode("utf-16-le"))
    (located,) = WholeText(tmp_path / "a.txt").read([0])
    assert isinstance(located.record, BadRecord)
    assert f"{tmp_path / 'a.txt'} contains NUL bytes, so it is no UTF-8 text" in str(located.record)
