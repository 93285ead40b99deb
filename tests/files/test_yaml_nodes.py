"""Tests t5x_lite/files/yaml_nodes.py"""

import pytest

from t5x_lite.files.yaml_nodes import compose, entries, read_as


def test_an_entry_is_found_by_the_end_of_its_dotted_name():
    nodes = dict(entries(compose("t: {x: {a: 1, b: no}}\nt.y: 3\nx: {c: [1]}"), "x"))
    assert {name: [key.value for key, _ in node.value] for name, node in nodes.items()} == {
        "t.x": ["a", "b"],
        "x": ["c"],
    }
    assert [name for name, _ in entries(compose("t.y: 3"), "t.y")] == ["t.y"]
    assert list(entries(compose("# nothing"), "t")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a, 'no', no, 3]", "no, which YAML reads as true or false"),
        ("{a: b, c: 01}", "01, which YAML reads as a number"),
        ("[a, ~]", "~, which YAML reads as null"),
        ("[a, {b: 1.5}]", "1.5, which YAML reads as a number"),
        ("[a, {b: c}]", None),
    ],
)
def test_the_first_word_that_is_not_text_is_named(text, found):
    assert read_as(compose(text)) == found
