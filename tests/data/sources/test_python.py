"""Tests t5x_lite/data/sources/python.py"""

import pytest

from t5x_lite.data.sources.python import import_object, is_object, open_object
from tests.data.sources.reading import read


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_source.py").write_text(
        "def records():\n    return [{'title': 'T', 'text': 'one'}, 'two']\n\n\ndef endless():\n    yield 'one'\n\n\n"
        "CONSTANT = ['three']\n\n\ndef of(name):\n    return [name]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "records"), [("own_source:records", [{"title": "T", "text": "one"}, {"text": "two"}]),
                          ("own_source:CONSTANT", [{"text": "three"}])]
)  # fmt: skip
def test_a_python_function_or_a_constant_is_a_source(module, name, records):
    source = open_object(name)
    assert read(source) == records


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "own_source:absent",
            r"'own_source:absent' cannot be imported \(.*has no attribute 'absent'\): write package.module:NAME",
        ),
        ("no_such_module:records", r"cannot be imported \(No module named 'no_such_module'\)"),
        ("own_source:of", r"'own_source:of' needs arguments \(missing a required argument: 'name'\): name a function"),
        ("builtins:dict", r"'builtins:dict' needs arguments \(.*\): name a function that needs none"),
        ("own_source:records@train", r"has @train, but only TFDS builder classes have splits: leave it out"),
        ("own_source:endless", r"'own_source:endless' is or returns a generator: make it a list"),
    ],
)
def test_an_unsuitable_function_is_refused(module, source, message):
    with pytest.raises(ValueError, match=message):
        open_object(source)
    with pytest.raises(
        ValueError, match=f"^task.eval_source {message.removeprefix('^')}" if message[0] == "'" else message
    ):
        open_object(source, "task.eval_source")


def test_a_file_of_that_name_takes_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_object("package.module:NAME")
    assert not is_object("data/file.txt")
    (tmp_path / "a:b").write_text("")
    assert not is_object("a:b")


def test_an_object_is_imported_by_name():
    assert import_object("json:dumps", "task.preprocess")([1]) == "[1]"
