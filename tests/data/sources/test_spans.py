"""Tests t5x_lite/data/sources/spans.py"""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data.sources import spans as module
from t5x_lite.data.sources.spans import find_lines, find_paragraphs, find_quoted_rows, find_whole

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b" ", b"\t", "\u00e9".encode()])).map(b"".join)


def cut(content, spans):
    return [(int(n), content[begin:end]) for begin, end, n in zip(spans.begin, spans.end, spans.line, strict=True)]


def lines_by_hand(content):
    lines = content.split(b"\n")
    return [(n, line.removesuffix(b"\r")) for n, line in enumerate(lines, 1) if line.removesuffix(b"\r")]


@given(PIECES)
def test_lines_are_those_between_line_ends_without_the_empty_ones(content):
    assert cut(content, find_lines(io.BytesIO(content))) == lines_by_hand(content)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "content", [b"abcdefghij\n\nk\n", b"a\r\n\r\n\nbc\r\nd\r", b"\n\n", b"ab\r\n", b"\xef\xbb\xbfa\n"]
)
def test_lines_are_found_wherever_a_block_ends(monkeypatch, content, size):
    monkeypatch.setattr(module, "BLOCK_BYTES", size)
    expected = [(n, line.removeprefix(module.BYTE_ORDER_MARK)) for n, line in lines_by_hand(content)]
    assert cut(content, find_lines(io.BytesIO(content))) == expected


@given(PIECES)
def test_paragraphs_are_what_is_between_blank_lines(content):
    expected, number = [], 1
    for lines in re.split(rb"^((?:[ \t\r]*\n)+)", content, flags=re.MULTILINE):
        if lines.strip():
            expected.append((number, lines.strip()))
        number += lines.count(b"\n")
    found = cut(content, find_paragraphs(io.BytesIO(content)))
    assert [(n, text.strip()) for n, text in found] == expected
    assert not any(text.endswith(b"\n") for _, text in found)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@given(content=PIECES)
def test_paragraphs_do_not_depend_on_how_long_lines_are(size, content):
    def paragraphs():
        spans = find_paragraphs(io.BytesIO(content))
        return [(n, text.rstrip(b"\r")) for n, text in cut(content, spans)]  # a block may end between \r and \n

    expected = paragraphs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", size)
        assert paragraphs() == expected


def test_a_mark_of_the_byte_order_belongs_to_no_record():
    content = module.BYTE_ORDER_MARK + b"a,b\n"
    for spans in (find(io.BytesIO(content)) for find in (find_whole, find_lines, find_paragraphs)):
        assert spans.begin.tolist() == [3]
    assert find_quoted_rows(io.BytesIO(content), "name").begin.tolist() == [3]


@pytest.mark.parametrize("find", [find_whole, find_lines, find_paragraphs, lambda file: find_quoted_rows(file, "name")])
def test_an_empty_file_has_no_record(find):
    assert [len(values) for values in find(io.BytesIO())] == [0, 0, 0]


def test_quoted_rows_may_have_line_ends_in_them():
    content = b'a,"b\nc"\r\n\n"d""\n",e'
    assert cut(content, find_quoted_rows(io.BytesIO(content), "name")) == [(1, b'a,"b\nc"\r\n'), (4, b'"d""\n",e')]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\rc,d\n", r"t.csv line 2 is not valid CSV \(new-line character .*\): mend the file"),
        (b'a\n"b\n' + b"c\n" * 6, r"t.csv line 6 is not valid CSV \(field larger .*, in a row that begins in line 2\)"),
        (b"a\n" + b"b" * 9, r"t.csv line 2 is not valid CSV \(it has more than 8 bytes\): mend the file"),
    ],
)
def test_quotes_and_line_ends_that_make_no_sense_are_named(monkeypatch, content, message):
    monkeypatch.setattr(module, "MOST_CHARACTERS", 8)
    with pytest.raises(ValueError, match=message):
        find_quoted_rows(io.BytesIO(content), "t.csv")
