"""Tests t5x_lite/tasks/trivia_qa.py."""

import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.tasks.trivia_qa import TRIVIA_QA, trivia_qa
from tests.tasks.reading import check_names, texts

# t5/data/preprocessors_test.py, test_triviaqa
RECORD = {
    "question": "What is the answer?",
    "entity_pages": {
        "wiki_context": ["The answer to all questions is the key.", "The answer to all questions are the keys."]
    },
    "answer": {"normalized_aliases": ["key", "keys"], "normalized_value": "key"},
}
QUESTION = "question: What is the answer ? context: The answer to all questions"


def test_examples_are_the_published_ones():
    assert texts(TRIVIA_QA, RECORD) == [
        (f"{QUESTION} is the key . ", "key"),
        (f"{QUESTION} are the keys . ", "key"),
        (f"{QUESTION} are the keys . ", "keys"),
    ]


def test_search_results_come_after_pages_and_case_is_ignored():
    record = RECORD | {"search_results": {"search_context": ["A KEY-ring", "nothing"]}}
    assert texts(TRIVIA_QA, record)[3:] == [("question: What is the answer ? context: A KEY - ring", "key")]
    assert all(example["answers"] == ["key", "keys"] for example in trivia_qa(record))


def test_a_question_without_its_answer_has_no_examples_and_one_without_aliases_is_malformed():
    assert trivia_qa({name: RECORD[name] for name in ("question", "answer")}) == []
    with pytest.raises(BadRecord, match=r"'answer.normalized_aliases'"):
        trivia_qa(RECORD | {"answer": {}})


def test_what_it_names_exists():
    check_names(TRIVIA_QA)
