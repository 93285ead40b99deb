"""Tests t5x_lite/data/records/preprocess.py"""

import pytest

from t5x_lite.data.sources.base import BadRecord
from tests.data.records.test_rows import read, task, write


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_preprocess.py").write_text(
        "def shout(record):\n    return {'text': record['text'].upper()}\n\n\ndef number(record):\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_may_change_text(tmp_path, module):
    assert read(task(write(tmp_path / "a.jsonl", {"text": "a"}), preprocess="own_preprocess:shout"), tmp_path)[0] == [
        ("A",)
    ]


def test_a_record_that_the_function_rejects_is_a_bad_record(tmp_path, module):
    path = write(tmp_path / "a.jsonl", {"title": "no text"}, {"text": "a"})
    shout = task(path, preprocess="own_preprocess:shout")
    message = r"a.jsonl line 1 does not suit task.preprocess own_preprocess:shout \(KeyError: 'text'\): fix"
    with pytest.raises(BadRecord, match=message):
        read(shout, tmp_path)
    texts, _, skipped = read(task(path, preprocess="own_preprocess:shout", bad_records="skip"), tmp_path)
    assert (texts, len(skipped)) == ([("A",)], 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "own_preprocess:number",
            r"number returned a int for .*a.jsonl line 1: make it return a mapping",
        ),
        ("own_preprocess:absent", r"task.preprocess 'own_preprocess:absent' cannot be imported"),
        ("absent", r"task.preprocess is 'absent': write package.module:NAME"),
    ],
)
def test_an_unsuitable_function_is_refused(tmp_path, module, name, message):
    with pytest.raises(ValueError, match=message):
        read(task(write(tmp_path / "a.jsonl", {"text": "a"}), preprocess=name), tmp_path)
