"""Tests t5x_lite/files/messages.py"""

from t5x_lite.files.messages import first_line, listed, rounded


def test_an_error_is_quoted_by_its_first_line_or_its_type():
    assert first_line(ValueError("\nshort\nand a traceback\nof pages")) == "short"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("x" * 1_000)) == "x" * 300


def test_long_lists_and_long_names_are_shortened():
    assert listed(["a", 2, None]) == "a, 2, None"
    assert listed([]) == ""
    assert listed("abcd", max_names=2) == "a, b and 2 more"
    assert listed(range(1_023)).endswith(", 18, 19 and 1,003 more")
    assert listed(["x" * 1_000]) == "x" * 100


def test_only_large_numbers_are_rounded():
    assert [rounded(n) for n in (0, 7, 48_960, 999_999)] == ["0", "7", "48,960", "999,999"]
    assert [rounded(n) for n in (1_000_000, 12_340_000)] == ["1.0 million", "12.3 million"]
    assert rounded(5_600_000_000) == "5,600.0 million"


def test_a_name_of_several_lines_or_with_control_characters_stays_in_one_line():
    assert listed(["a\nb", "\x1b[2J", "é", "\ud800"]) == "a\\nb, \\x1b[2J, é, \\ud800"
