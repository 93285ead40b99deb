"""Tests t5x_lite/data/sources/lines.py"""

import io
import os

import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.lines import Line, Lines, lines_opener, piped_lines, piped_records
from tests.data.sources.reading import read

OBJECTS = b'\xef\xbb\xbf\r\n  {"q": "x"}\n \n{"q": "y"}\n'
TEXT = b'\xef\xbb\xbf\n10%\r20%\n\n  \r\n{"q": "x"}\nlast \xe2\x80\xa8 line'
LINES = ["", "10%\r20%", "", "  ", '{"q": "x"}', "last \u2028 line"]


def opened(tmp_path, content, *, may_be_json):
    (tmp_path / "a").write_bytes(content)
    return lines_opener("q", may_be_json=may_be_json)(tmp_path / "a", "a", tmp_path / "cache")


def piped(content, *, may_be_json):
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="ascii")
    return [found.record for found in piped_records(stream, "q", may_be_json=may_be_json)]


@pytest.mark.parametrize("may_be_json", [True, False])
def test_every_line_of_text_counts_and_a_lone_return_ends_none(tmp_path, may_be_json):
    found = read(opened(tmp_path, TEXT, may_be_json=may_be_json))
    assert found == [{"q": text, "text": text, "file": "a", "folder": ""} for text in LINES]
    assert {type(record) for record in found} == {Line}
    assert piped(TEXT, may_be_json=may_be_json) == [{"q": text} for text in LINES]


def test_lines_that_begin_with_an_object_may_be_json(tmp_path):
    for found in (read(opened(tmp_path, OBJECTS, may_be_json=True)), piped(OBJECTS, may_be_json=True)):
        assert found == [{"q": "x"}, {"q": "y"}]
    assert len(opened(tmp_path, OBJECTS, may_be_json=False)) == len(piped(OBJECTS, may_be_json=False)) == 4


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf\n", b"\n\n"])
def test_a_pipe_without_text_has_its_lines(content):
    assert piped(content, may_be_json=True) == [{"q": ""}] * content.count(b"\n")


def test_a_field_of_text_files_keeps_its_meaning(tmp_path):
    (tmp_path / "a").write_text("one")
    assert read(Lines(tmp_path / "a", field="file")) == [{"text": "one", "file": "a", "folder": tmp_path.name}]


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfone\n\ntwo \xc3\xa9\r\nx\ry", b"\xef\xbb\xbfone\r\n\r\ntwo \xc3\xa9\nx\ry\n"]
)
def test_a_pipe_is_read_as_a_file_is(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    texts = [text for text, _ in piped_lines(io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))]
    assert (
        texts == [record["q"] for record in read(Lines(tmp_path / "a.txt", field="q"))] == ["one", "", "two é", "x\ry"]
    )


def test_a_line_of_a_pipe_that_is_not_utf_8_is_named():
    lines = piped_lines(io.TextIOWrapper(io.BytesIO(b"fine\ncaf\xe9?\n"), encoding="utf-8", errors="surrogateescape"))
    assert next(lines) == ("fine", "line 1 of standard input")
    with pytest.raises(BadRecord, match=r"^line 2 of standard input is not UTF-8 .*0xe9\): convert .* iconv"):
        next(lines)


def test_a_line_is_read_before_the_next_one_is_written():
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as stream, os.fdopen(writer, "wb", buffering=0) as out:
        records = piped_records(stream, "q", may_be_json=True)
        for line in ("one", "two"):
            out.write(f"{line}\n".encode())
            assert next(records).record == {"q": line}
