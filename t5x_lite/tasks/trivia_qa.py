# SPDX-License-Identifier: Apache-2.0
"""TriviaQA as reading comprehension: `question: A question ? context: A document . ` -> an answer in it.

There is one example for each document and each of the answers in it. T5 then cuts a long input around its answer; here
it is cut at `train.inputs_length` like any other, so that the answer may lie beyond the cut.

Source: T5 `preprocessors.trivia_qa`, `tasks.py` (which has no metrics for it).
"""

from t5x_lite.data.sources.base import Record
from t5x_lite.tasks.formats import from_tfds, take, take_texts
from t5x_lite.tasks.squad import SPACES, pad_punctuation

CONTEXTS = {"entity_pages": "wiki_context", "search_results": "search_context"}


def trivia_qa(record: Record) -> list[Record]:
    """Formats a question with each document and each answer in it, ignoring case; all aliases are `answers`."""
    question = pad_punctuation(take(record, "question", str))
    answers = [pad_punctuation(alias) for alias in take_texts(record, "answer.normalized_aliases")]
    documents = [
        pad_punctuation(document)
        for field, name in CONTEXTS.items()
        if field in record
        for document in take_texts(record, f"{field}.{name}")
    ]
    return [
        {
            "inputs": SPACES.sub(" ", f"question: {question} context: {document}"),
            "targets": answer,
            "answers": answers,
        }
        for document in documents
        for answer in answers
        if answer.lower() in document.lower()
    ]


TRIVIA_QA = from_tfds("trivia_qa/rc:1.1.0", preprocess=f"{__name__}:trivia_qa", metrics=("trivia_qa",))
