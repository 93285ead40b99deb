"""Tests t5x_lite/data/sources/lines.py"""

import csv
import io
import json
import os
import pathlib
import pickle
import resource
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data.sources import lines
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.lines import MOST_OPEN, Delimited, JsonLines, TextLines, TextParagraphs, WholeText


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def records(source):
    return [source[i] for i in range(len(source))]


def texts(source):
    return [record["text"] for record in records(source)]


def test_a_text_file_is_one_document_or_its_paragraphs_or_its_lines(write):
    path = write("\ufeffone\ntwo\n \n\nthree\r\n\r\nfour\n")
    assert texts(WholeText(path)) == ["one\ntwo\n \n\nthree\r\n\r\nfour\n"]
    assert texts(TextParagraphs(path)) == ["one\ntwo", "three", "four"]
    assert [TextParagraphs(path).where(i)[-6:] for i in range(3)] == ["line 1", "line 5", "line 7"]
    assert texts(TextLines(path)) == ["one", "two", " ", "three", "four"]


def test_json_lines_are_objects_and_empty_lines_are_none(write):
    source = JsonLines(write('{"a": 1}\n\n{"a": "é\\n"}'))
    assert records(source) == [{"a": 1}, {"a": "é\n"}]
    assert source.where(1).endswith("file line 3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": \n', r"line 2 is not valid JSON \(Expecting value, column 7\): mend or remove the record"),
        ('{"a": 1}\n[1]\n', "line 2 is a JSON list: make each record an object"),
        (b'{"a": 1}\n{"a": "\xff"}\n', r"line 2 is not UTF-8 \(its byte 7 is 0xff\): convert the file to UTF-8"),
        ('{"a": 1}\n' + "[" * 100_000, "line 2 is not valid JSON"),
        ('{"a": 1}\n{"a": ' + "9" * 5_000 + "}", r"line 2 is not valid JSON \(Exceeds the limit"),
    ],
)
def test_a_malformed_line_of_json_is_named_and_the_others_are_read(write, content, message):
    source = JsonLines(write(content))
    assert source[0] == {"a": 1}
    with pytest.raises(BadRecord, match=message):
        source[1]


def test_a_line_of_fifty_megabytes_is_a_record(write):
    source = JsonLines(write(json.dumps({"a": "x" * 50_000_000}) + '\n{"a": "y"}\n'))
    assert [len(record["a"]) for record in records(source)] == [50_000_000, 1]


def test_csv_has_the_first_lines_names_and_quoted_line_breaks(write):
    source = Delimited(write('\ufeffid,text\r\n1,"a ""b"",\r\nc"\r\n\r\n2,\u2028d\n'), delimiter=",")
    assert records(source) == [{"id": "1", "text": 'a "b",\r\nc'}, {"id": "2", "text": "\u2028d"}]
    assert [source.where(i)[-6:] for i in range(2)] == ["line 2", "line 5"]


@given(st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=6)] * 3), max_size=5))
def test_a_table_that_python_wrote_is_read_back(rows):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("a", "b", "c"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "table.csv"
        path.write_bytes(written.getvalue().encode())
        assert [tuple(record.values()) for record in records(Delimited(path, delimiter=","))] == rows


def test_quotes_mean_nothing_in_tab_separated_values(write):
    source = Delimited(write('he said "hi\ter sagte\nno\tnein'), delimiter="\t", columns=("en", "de"))
    assert records(source) == [{"en": 'he said "hi', "de": "er sagte"}, {"en": "no", "de": "nein"}]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("a,b\n1,2,3\n", BadRecord, r"line 2 has 3 values, and there are 2 columns \(a, b\): mend or remove the line"),
        ("a,b\n\x00\xff,2\n".encode("latin-1"), BadRecord, "line 2 is not UTF-8"),
        ("a,a\n1,2\n", ValueError, "names columns a, a, some of them twice"),
        ("a,b\n1,2\r3,4\n", ValueError, "line 2 is not valid CSV"),
        (b"a,\xff\n1,2\n", BadRecord, "line 1 is not UTF-8"),
    ],
)
def test_a_malformed_table_is_refused_by_line(write, content, error, message):
    with pytest.raises(error, match=message):
        records(Delimited(write(content), delimiter=","))


def test_a_quote_that_is_never_closed_is_one_bad_record(write):
    source = Delimited(write('a,b\n1,2\n3,"4\n' + "5,6\n" * 50_000), delimiter=",")
    assert len(source) == 2
    assert source[0] == {"a": "1", "b": "2"}
    assert source[1]["b"].startswith("4\n5,6")


@pytest.mark.parametrize("kind", [WholeText, TextLines, TextParagraphs, JsonLines])
def test_an_empty_file_has_no_records(write, kind):
    assert len(kind(write(""))) == 0


def test_the_line_of_the_names_is_the_first_that_is_not_empty(write):
    source = Delimited(write(b"\n\na\t\xff\n"), delimiter="\t", columns=("b", "c"))
    with pytest.raises(BadRecord, match="line 3 is not UTF-8"):
        source[0]
    with pytest.raises(BadRecord, match="line 3 is not UTF-8"):
        Delimited(write(b"\n\na,\xff\n"), delimiter=",")


def test_an_empty_table_has_no_records(write):
    assert len(Delimited(write(""), delimiter=",")) == 0
    assert len(Delimited(write("a,b\n"), delimiter=",")) == 0


def test_a_worker_process_gets_the_name_of_the_file_and_not_its_contents(write):
    path = write("a,b\n" + "1,2\n" * 10_000)
    source = Delimited(path, "called", delimiter=",")
    sent = pickle.dumps(source)
    assert len(sent) < 1_000
    assert pickle.loads(sent)[9_999] == {"a": "1", "b": "2"}
    assert pickle.loads(sent).where(0) == "called line 2"
    assert texts(pickle.loads(pickle.dumps(TextLines(path))))[0] == "a,b"


def test_a_record_that_does_not_fit_into_memory_is_named(write, monkeypatch):
    monkeypatch.setattr("t5x_lite.data.sources.lines.MOST_BYTES", 20)
    source = TextLines(write("a\n" + "b" * 20 + "\n" + "c" * 21 + "\n"))
    assert source[1]["text"] == "b" * 20
    with pytest.raises(BadRecord, match=r"file line 3 begins a record of 21 bytes, and 20 are the most: cut it up"):
        source[2]


@pytest.mark.parametrize("change", ["cut", "longer", "other", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_named(write, change):
    path = write('{"a": 1}\n{"a": 2}\n')
    source = JsonLines(path)
    assert source[0] == {"a": 1}
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
            os.replace(other, path)
            assert source[1] == {"a": 2}  # what was opened is still there
            assert JsonLines(path)[1] == {"b": 22}
            lines._open.cache_clear()
    with pytest.raises(ValueError, match=r"file has changed since it was opened: run again once nothing writes to it"):
        source[1]


def test_more_files_than_a_process_may_open_are_a_source(tmp_path):
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/proc/self/fd")) if pathlib.Path("/proc/self/fd").exists() else 100
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + MOST_OPEN + 10, hard))
        paths = [tmp_path / f"{i}.txt" for i in range(MOST_OPEN + 30)]
        for i, path in enumerate(paths):
            path.write_text(str(i))
        sources = [WholeText(path) for path in paths]
        assert [source[0]["text"] for source in sources] == [str(i) for i in range(MOST_OPEN + 30)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def test_two_readers_of_a_large_file_share_an_index(write, tmp_path, monkeypatch):
    monkeypatch.setattr("t5x_lite.data.sources.index.FEWEST_BYTES", 0)
    path, cache = write('a,b\n1,"x\ny"\n3,4\n'), tmp_path / "cache"
    first = Delimited(path, "called", cache, delimiter=",")
    assert [file.suffix for file in cache.iterdir()] == [".npy"]
    monkeypatch.setattr("t5x_lite.data.sources.lines.find_quoted_rows", lambda *_: pytest.fail("read through again"))
    for source in (pickle.loads(pickle.dumps(first)), Delimited(path, None, cache, delimiter=",")):
        assert records(source) == [{"a": "1", "b": "x\ny"}, {"a": "3", "b": "4"}]
        assert source.where(1).endswith("line 4")


@pytest.mark.parametrize("kind", [WholeText, TextLines, TextParagraphs, JsonLines])
def test_a_worker_process_gets_the_place_of_the_index(write, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("t5x_lite.data.sources.index.FEWEST_BYTES", 0)
    sent = pickle.dumps(kind(write('{"a": 1}\n'), "called", tmp_path / "cache"))
    for name in ("find_whole", "find_lines", "find_paragraphs"):
        monkeypatch.setattr(lines, name, lambda *_: pytest.fail("read through again"))
    assert len(pickle.loads(sent)) == 1


def test_lines_and_paragraphs_of_a_file_have_indices_of_their_own(write, tmp_path, monkeypatch):
    monkeypatch.setattr("t5x_lite.data.sources.index.FEWEST_BYTES", 0)
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
    assert len(source[0]) == 10_000
    with pytest.raises(
        BadRecord, match=r"has 2 values, and there are 10000 columns \(column0, .* and 9,980 more\)"
    ) as error:
        source[1]
    assert len(str(error.value)) < 1_000


def test_a_text_knows_the_file_and_the_folder_it_is_from(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "7.txt").write_text("good\n\nvery good\n")
    where = {"file": "7.txt", "folder": "pos"}
    assert TextParagraphs(tmp_path / "pos" / "7.txt")[1] == {"text": "very good"} | where
    copy = tmp_path / "cache.txt"
    copy.write_text("good")
    assert WholeText(copy, str(tmp_path / "pos" / "7.txt"))[0] == {"text": "good"} | where
