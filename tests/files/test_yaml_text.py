"""Tests t5x_lite/files/yaml_text.py"""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.files.yaml_text import Misread, dump_yaml, load_texts, load_yaml

WORDS = [
    "yes",
    "No",
    "on",
    "~",
    "null",
    "",
    "01",
    "0x10",
    "0o17",
    "1e3",
    "1_000",
    "12:30",
    "2020-02-02",
    "=",
    "<<",
    "#a",
]
TEXT = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
KEYS = TEXT.filter(lambda key: "." not in key)  # a.b: 1 is another way to say a: {b: 1}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN.filter(lambda value: value is not None))
def test_what_is_written_is_read_again(value):
    assert load_yaml(dump_yaml(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-.5e+2", -50.0),
        ("6.", 6.0),
        ("65_536", 65_536),
        ("010", 10),
        ("-0x1F", -31),
        ("0o17", 15),
        ("0b101", 5),
        ("-.inf", -math.inf),
        ("true", True),
        ("no", False),
        ("~", None),
        ("null", None),
        ("12:30", "12:30"),
        ("1:30.5", "1:30.5"),
        ("2020-02-02", "2020-02-02"),
        ("y", "y"),
        ("=", "="),
        ("1e", "1e"),
        ("0x", "0x"),
        ("'no'", "no"),
    ],
)
def test_numbers_are_decimal_and_times_are_text(text, value):
    loaded = load_yaml(f"a: {text}")["a"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_keys_are_text_as_written():
    keys = ["1", "01", "12:30", "0x10", "16", "1.0", "1e3", "2020-02-02", "=", "y", "a.b"]
    assert list(load_yaml("".join(f"{key}: x\n" for key in keys))) == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: a is given twice, first in line 1: leave out one of them"),
        ("{a: 1, a: 1}", "line 1: a is given twice, in the same line: leave out one of them"),
        ("t:\n  x: {a: 1}\n  x: {b: 2}", "line 3: t.x is given twice, first in line 2: leave out one of them"),
        ("t.x: 1\nt: {x: 2}", "line 2: t.x is given twice, first in line 1: leave out one of them"),
        ("l: [{a: 1}, {b: 1, b: 2}]", "line 1: l[1].b is given twice, in the same line: leave out one of them"),
        ("yes: 1", 'line 1: yes, a key of the file, is true or false in YAML, not a word: put it in quotes, "yes"'),
        ("t:\n  Off: 1", 'line 2: Off, a key of t, is true or false in YAML, not a word: put it in quotes, "Off"'),
        ("t: {~: 1}", 'line 1: ~, a key of t, is null in YAML, not a word: put it in quotes, "~"'),
        ("t: {[a, b]: 1}", "line 1: t has a list or mapping as a key: use text"),
    ],
)
def test_what_would_be_misread_is_refused_by_name_and_line(text, message):
    with pytest.raises(Misread) as caught:
        load_yaml(text)
    assert str(caught.value) == message


def test_the_same_names_in_different_places_are_no_repetition():
    assert load_yaml("[{a: 1}, {a: 2}]") == [{"a": 1}, {"a": 2}]
    assert load_yaml("x: {a: 1}\ny: {a: 2}") == {"x": {"a": 1}, "y": {"a": 2}}


def test_anchors_and_merged_mappings_are_read():
    assert load_yaml("x: &x {a: 1, b: 2}\ny: *x\nz: {<<: *x, b: 3}") == {
        "x": {"a": 1, "b": 2},
        "y": {"a": 1, "b": 2},
        "z": {"a": 1, "b": 3},
    }


@pytest.mark.parametrize(
    "text", ["[" * 5_000, "a: !!int words", "a: !!python/object:os.system x", "a: [", "a: *b", "\0"]
)
def test_what_is_no_yaml_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


@pytest.mark.parametrize("text", ["", "# only a comment", "\n\n"])
def test_a_text_without_a_value_is_itself(text):
    assert load_yaml(text) == text


def test_words_can_all_be_read_as_text():
    assert load_texts("{yes: no, 01: ~, '#': 1e3, k: [0x10, null]}") == {
        "yes": "no",
        "01": "~",
        "#": "1e3",
        "k": ["0x10", "null"],
    }
    with pytest.raises(Misread, match="a is given twice"):
        load_texts("{a: 1, a: 2}")


def bomb(levels):
    """A text whose last value is 10 ** levels values, written out."""
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels + 1)]
    return "\n".join(["a0: &a0 x", *lines])


@pytest.mark.parametrize("load", [load_yaml, load_texts])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(9), "line 1: aliases, such as *a, repeat more than 10,000 values: write fewer"),
        ("a: 1\nb: &b {c: [*b]}", "line 2: an alias, such as *a, is inside what it stands for"),
        ("a: " + "[" * 65 + "]" * 65, "line 1: values are nested more than 64 deep"),
        ("- " * 300 + "a", "line 1: values are nested more than 64 deep"),
        ("a" * 500_001, "it has 500,001 characters: a config has at most 500,000"),
    ],
)
def test_a_text_beyond_a_limit_is_refused_at_once(load, text, message):
    with pytest.raises(yaml.YAMLError) as caught:
        load(text)
    assert str(caught.value) == message


def test_merged_mappings_count_as_aliases():
    with pytest.raises(Misread, match="repeat more than 10,000 values"):
        load_yaml("\n".join(["m0: &m0 {a: 1}", *(f"m{i}: &m{i} {{<<: [{f'*m{i - 1}, ' * 9}]}}" for i in range(1, 9))]))


def test_aliases_within_the_limits_are_read():
    inner = {"b": [1, 2]}
    assert load_yaml("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a}") == {"a": inner, "c": inner, "d": inner}
    assert len(load_yaml(bomb(3))["a3"]) == 10
