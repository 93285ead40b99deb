"""Tests t5x_lite/data/sources/lines.py"""

import io
import os

import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.lines import Lines, LinesWithFields, line_record, piped_lines
from tests.data.sources.reading import read


def test_every_line_counts_and_a_lone_return_ends_none(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf10%\r20%\n\n  \r\nlast \xe2\x80\xa8 line")
    texts = [record["inputs"] for record in read(Lines(tmp_path / "a"))]
    assert texts == ["10%\r20%", "", "  ", "last \u2028 line"]


def test_lines_are_objects_or_the_fields_of_a_text_file(tmp_path):
    (tmp_path / "a").write_text('{"q": "x"}\n\n plain\n  {"q": "y"}\n{}\n')
    text = {"text": " plain", "file": "a", "folder": tmp_path.name}
    assert read(LinesWithFields(tmp_path / "a")) == [{"q": "x"}, text, {"q": "y"}, {}]


def test_a_line_that_begins_like_an_object_has_to_be_one():
    with pytest.raises(BadRecord, match="here is not valid JSON"):
        line_record('{"q": ', "here", otherwise={})


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfone\n\ntwo \xc3\xa9\r\nx\ry", b"\xef\xbb\xbfone\r\n\r\ntwo \xc3\xa9\nx\ry\n"]
)
def test_a_pipe_is_read_as_a_file_is(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    texts = [text for text, _ in piped_lines(io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))]
    assert texts == [record["inputs"] for record in read(Lines(tmp_path / "a.txt"))] == ["one", "", "two é", "x\ry"]


def test_a_line_of_a_pipe_that_is_not_utf_8_is_named():
    lines = piped_lines(io.TextIOWrapper(io.BytesIO(b"fine\ncaf\xe9?\n"), encoding="utf-8", errors="surrogateescape"))
    assert next(lines) == ("fine", "line 1 of standard input")
    with pytest.raises(BadRecord, match=r"^line 2 of standard input is not UTF-8 .*0xe9\): convert .* iconv"):
        next(lines)


def test_a_line_is_read_before_the_next_one_is_written():
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as stream, os.fdopen(writer, "wb", buffering=0) as out:
        lines = piped_lines(stream)
        for line in ("one", "two"):
            out.write(f"{line}\n".encode())
            assert next(lines)[0] == line
