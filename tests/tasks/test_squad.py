"""Tests t5x_lite/tasks/squad.py; the expected texts are those of t5/data/preprocessors_test.py."""

import numpy as np
import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.tasks import squad
from tests.tasks.reading import check_names, examples, held_out, prepare, texts

RECORD = {
    "id": "testid",
    "title": "A title",
    "context": "Some context.",
    "question": "A question?",
    "answers": {"text": ["The answer.", "Another answer."], "answer_start": [3, 7]},
}
INPUTS = "question: A question ? context: Some context . "


def test_punctuation_stands_by_itself_and_spaces_are_single():
    padded = squad.pad_punctuation('"This  is a string with "punctuation (1845-1986) ".')
    assert padded == ' " This is a string with " punctuation ( 1845 - 1986 ) " . '


@pytest.mark.parametrize("mark", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
def test_every_mark_of_ascii_is_punctuation(mark):
    assert squad.pad_punctuation(f"a{mark}b") == f"a {mark} b"


def test_other_marks_and_spaces_stay_as_they_are():
    assert squad.pad_punctuation("«a»–b\u00a0c\u3000d\t\r\n\f e") == "«a»–b\u00a0c\u3000d e"


def test_a_question_is_asked_of_its_context():
    assert examples(squad.SQUAD, RECORD) == [
        {"inputs": INPUTS, "targets": "The answer . ", "answers": ["The answer . ", "Another answer . "]}
    ]


def test_a_question_may_be_asked_without_its_context():
    assert examples(squad.SQUAD_CONTEXT_FREE, RECORD) == [
        {
            "inputs": "squad trivia question: A question ? ",
            "targets": "The answer . ",
            "answers": ["The answer . ", "Another answer . "],
        }
    ]


def test_padding_leaves_no_two_spaces_where_texts_meet():
    record = {**RECORD, "question": " (Why?)", "context": "\n(So.)"}
    assert texts(squad.SQUAD, record)[0][0] == "question: ( Why ? ) context: ( So . ) "


@pytest.mark.parametrize("task", [squad.SQUAD, squad.SQUAD_CONTEXT_FREE])
def test_a_question_without_an_answer_is_refused(task):
    with pytest.raises(BadRecord, match=r"no 'answers.text', .*: read squad/v1.1"):
        examples(task, {**RECORD, "answers": {"text": [], "answer_start": []}})


@pytest.mark.parametrize("task", [squad.SQUAD, squad.SQUAD_CONTEXT_FREE])
def test_a_task_reads_version_1_1_and_is_measured_over_all_answers(task):
    check_names(task)
    assert (task.source, task.eval_source) == ("tfds:squad/v1.1:3.0.0@train", "tfds:squad/v1.1:3.0.0@validation")
    assert task.metrics == ("squad",)


def test_squad_is_read_from_its_data_set(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    features = {name: tfds.features.Text() for name in ("id", "title", "context", "question")}
    answers = tfds.features.Sequence({"text": tfds.features.Text(), "answer_start": np.int32})
    record = {**RECORD, "answers": [{"text": "The answer.", "answer_start": 3}, {"text": "b", "answer_start": 7}]}
    prepare(monkeypatch, tmp_path, "squad/v1.1:3.0.0", {**features, "answers": answers}, {"validation": [record]})
    (read,) = held_out(squad.SQUAD, tmp_path)
    assert examples(squad.SQUAD, read) == [
        {"inputs": INPUTS, "targets": "The answer . ", "answers": ["The answer . ", "b"]}
    ]
