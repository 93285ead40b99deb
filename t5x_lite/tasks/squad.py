# SPDX-License-Identifier: Apache-2.0
"""SQuAD v1.1 as text: `question: A question ? context: Some context . ` -> the first answer.

Source: T5 `preprocessors.squad`, `tasks.py`.
"""

import re
import string

from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.tasks.formats import from_tfds, take, take_texts

DATA_SET = "squad/v1.1:3.0.0"
PUNCTUATION = re.compile(f"([{re.escape(string.punctuation)}])")
SPACES = re.compile(r"[ \t\n\f\r]+")  # RE2's \s, as in T5: no other Unicode spaces


def pad_punctuation(text: str) -> str:
    """Returns the text with spaces around every ASCII punctuation mark, and runs of spaces collapsed."""
    return SPACES.sub(" ", PUNCTUATION.sub(r" \1 ", text))


def squad(record: Record) -> Record:
    """Formats a question with its context, the first answer as targets, and all accepted `answers`."""
    question, context = (pad_punctuation(take(record, name, str)) for name in ("question", "context"))
    return _example(record, f"question: {question} context: {context}")


def squad_context_free(record: Record) -> Record:
    """Formats a question without its context, the first answer as targets, and all accepted `answers`."""
    return _example(record, f"squad trivia question: {pad_punctuation(take(record, 'question', str))}")


def _example(record: Record, inputs: str) -> Record:
    answers = [pad_punctuation(answer) for answer in take_texts(record, "answers.text")]
    if not answers:
        raise BadRecord(
            "a record has no 'answers.text', whose first item T5's SQuAD format uses: read squad/v1.1, where every "
            "question has an answer"
        )
    return {"inputs": SPACES.sub(" ", inputs), "targets": answers[0], "answers": answers}


SQUAD = from_tfds(DATA_SET, preprocess=f"{__name__}:squad", metrics=("squad",))
SQUAD_CONTEXT_FREE = from_tfds(DATA_SET, preprocess=f"{__name__}:squad_context_free", metrics=("squad",))
