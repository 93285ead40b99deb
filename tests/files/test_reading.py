"""Tests t5x_lite/files/reading.py"""

import pytest

from t5x_lite.files.reading import reading


class PanicException(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("a"), "it holds something else than it should"),
        (TypeError("'NoneType' object is not subscriptable"), "it holds something else than it should"),
        (AttributeError("'int' object has no attribute 'x'"), "it holds something else than it should"),
        (RecursionError("maximum"), "it is nested too deeply"),
        (MemoryError(), "it needs more memory than there is"),
        (OverflowError("int too large"), "it holds a number that is too large"),
        (ValueError("not a number\nof two lines"), "not a number"),
        (RuntimeError("from C++"), "from C++"),
        (PanicException("index out of bounds"), "index out of bounds"),
    ],
)
def test_whatever_fails_is_one_line_that_names_the_file(error, reason):
    with pytest.raises(ValueError, match=r"a\.json") as caught, reading("a.json"):
        raise error
    assert str(caught.value) == f"a.json is damaged ({reason}): download it again"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a.json has no x"),
        FileNotFoundError(2, "No such file or directory", "b.json"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
)
def test_errors_that_name_a_file_and_signals_are_passed_on(error):
    with pytest.raises(type(error)) as caught, reading("a.json"):
        raise error
    assert caught.value is error


def test_an_error_of_the_system_that_names_no_file_gets_its_name():
    message = r"^a\.json cannot be read \(.*Cannot allocate memory\): download it again$"
    with pytest.raises(ValueError, match=message), reading("a.json"):
        raise OSError(12, "Cannot allocate memory")
