# SPDX-License-Identifier: Apache-2.0
"""SuperGLUE as text, with the pronoun resolution task that T5 mixes in.

Examples of MultiRC and ReCoRD with the same `group` are scored together. MultiRC has one example per answer, and a
question counts as correct if all its answers are classified correctly. ReCoRD has one example per accepted answer, and
metrics score one example per group, against all `answers`.

Source: T5 `glue_utils.py`, `preprocessors.py`, `tasks.py`; the classes are TFDS's.
"""

import dataclasses
import re

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.tasks import glue
from t5x_lite.tasks.formats import UNKNOWN, Classification, class_word, from_tfds, take, take_texts

VERSION = "1.0.2"
TRUTH = ("False", "True")
TRUE_LABEL = 1
# Texts of WSC with a wrong span2_index, and T5's corrections.
MISPLACED_PRONOUNS = {
    '"Good for him," he said. ': '"Good for *him* ," he said.',
    "might want to use it , but": "might want to use *it* , but",
}

boolq = Classification("boolq passage: {passage} question: {question}", TRUTH)
cb = Classification("cb hypothesis: {hypothesis} premise: {premise}", ("entailment", "contradiction", "neutral"))
copa = Classification(
    "copa choice1: {choice1} choice2: {choice2} premise: {premise} question: {question}", ("choice1", "choice2")
)
rte = Classification("rte hypothesis: {hypothesis} premise: {premise}", glue.ENTAILMENT)
wic = Classification("wic sentence1: {sentence1} sentence2: {sentence2} word: {word}", TRUTH)
axb = Classification("rte hypothesis: {sentence2} premise: {sentence1}", glue.ENTAILMENT)
_MULTIRC = Classification("multirc question: {question} answer: {answer} paragraph: {paragraph}", TRUTH)
_RECORD_INPUTS = Template("record query: {query} entities: {entities} passage: {passage}", "T5's format")


def multirc(example: Record) -> Record:
    """Formats a question and one answer, without HTML tags; all answers to a question form a group."""
    formatted = _MULTIRC(example)
    inputs = re.sub("</?b>", "", formatted["inputs"].replace("<br>", " "))
    return {**formatted, "inputs": inputs, "group": _group(example, "idx.paragraph", "idx.question")}


def record(example: Record) -> list[Record]:
    """Formats a query once per accepted answer, or with `<unk>` if there is none, as in the test split.

    Source: T5 `preprocessors.record`.
    """
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", take(example, "passage", str))
    passage = passage.replace("\n@highlight\n", ". ")
    entities, answers = ", ".join(take_texts(example, "entities")), take_texts(example, "answers")
    inputs = _RECORD_INPUTS({**example, "entities": entities, "passage": passage}, "a record")
    group = _group(example, "idx.passage", "idx.query")
    return [
        {"inputs": inputs, "targets": answer, "answers": answers, "group": group} for answer in answers or [UNKNOWN]
    ]


def wsc(example: Record) -> Record:
    """Formats the question whether the pronoun between hashes refers to the noun between stars.

    Source: T5 `preprocessors.wsc`, replaced by `wsc_simple` in its final mixtures.
    """
    noun_index, pronoun_index = take(example, "span1_index", int), take(example, "span2_index", int)
    text = _mark_span(take(example, "text", str), take(example, "span1_text", str), noun_index, "*")
    pronoun_index += 2 * (noun_index < pronoun_index)  # the two stars are words too
    text = _mark_span(text, take(example, "span2_text", str), pronoun_index, "#")
    return {"inputs": f"wsc text: {text}", "targets": class_word(example, TRUTH)}


def wsc_simple(example: Record) -> list[Record]:
    """Formats a pronoun between stars and the noun it refers to; drops records with the wrong noun."""
    return [wsc_simple_all(example)] if take(example, "label", int) == TRUE_LABEL else []


def wsc_simple_all(example: Record) -> Record:
    """Formats a pronoun between stars and a noun; `label` and `is_correct` say whether it refers to that noun.

    An unknown label, as in the test split, has no `is_correct`.

    Source: T5 `preprocessors.wsc_simple`.
    """
    text, pronoun = take(example, "text", str), take(example, "span2_text", str)
    formatted = {
        "inputs": f"wsc: {_star_pronoun(text, pronoun, take(example, 'span2_index', int))}",
        "targets": take(example, "span1_text", str),
        "label": class_word(example, TRUTH),
    }
    if formatted["label"] == UNKNOWN:
        return formatted
    return {**formatted, "is_correct": formatted["label"] == TRUTH[TRUE_LABEL]}


def dpr_simple(example: Record) -> Record:
    """Formats a sentence with the first occurrence of the pronoun between stars, and the candidate it refers to.

    Source: T5 `preprocessors.definite_pronoun_resolution_simple`.
    """
    pronoun = re.escape(take(example, "pronoun", str))
    sentence = re.sub(rf" ({pronoun})([ .,])", r" *\1*\2", take(example, "sentence", str), count=1)
    return {"inputs": f"wsc: {sentence}", "targets": class_word(example, take_texts(example, "candidates"))}


def _group(example: Record, *names: str) -> str:
    return "/".join(str(take(example, name, int)) for name in names)


def _mark_span(text: str, span: str, index: int, mark: str) -> str:
    """Puts marks around a span if it starts at word `index`."""
    pattern = rf"^((?:\S+\s){{{index}}})({re.escape(span)})"
    return re.sub(pattern, rf"\1{mark} \2 {mark}", text, flags=re.ASCII)


def _star_pronoun(text: str, pronoun: str, index: int) -> str:
    for misplaced, starred in MISPLACED_PRONOUNS.items():
        if misplaced in text:
            return text.replace(misplaced, starred)
    words = text.split(" ")
    if not 0 <= index < len(words) or words[index] != pronoun:
        raise BadRecord(
            f"a record has {index} in 'span2_index', but word {index} of its text is not the 'span2_text' "
            f"{pronoun!r}: read super_glue/wsc.fixed, where this is fixed"
        )
    return " ".join([*words[:index], f"*{pronoun}*", *words[index + 1 :]])


def _task(name: str, *metrics: str) -> TaskConfig:
    return from_tfds(f"super_glue/{name}:{VERSION}", preprocess=f"{__name__}:{name}", metrics=metrics)


BOOLQ = _task("boolq", "accuracy")
CB = _task("cb", "mean_f1:entailment,contradiction,neutral", "accuracy")
COPA = _task("copa", "accuracy")
MULTIRC = _task("multirc", "f1:True", "exact_match")
RECORD = _task("record", "deduplicated_squad")
RTE = _task("rte", "accuracy")
WIC = _task("wic", "accuracy")

# The diagnostic datasets have only test data, which T5 formats as RTE, without metrics. GLUE's RTE is SuperGLUE's with
# the field names of axb.
AXG = dataclasses.replace(RTE, eval_source=f"tfds:super_glue/axg:{VERSION}@test", metrics=())
AXB = dataclasses.replace(
    glue.RTE, eval_source=f"tfds:super_glue/axb:{VERSION}@test", preprocess=f"{__name__}:axb", metrics=()
)

_WSC = f"super_glue/wsc.fixed:{VERSION}"
WSC = from_tfds(_WSC, preprocess=f"{__name__}:wsc", metrics=("accuracy",))
# Trained and scored only on correct nouns.
WSC_SIMPLE = from_tfds(_WSC, preprocess=f"{__name__}:wsc_simple", metrics=("accuracy",))
# For evaluation, not for training: half of the nouns are wrong.
WSC_SIMPLE_EVAL = from_tfds(_WSC, preprocess=f"{__name__}:wsc_simple_all", metrics=("wsc_accuracy",))
DPR_SIMPLE = from_tfds(
    "definite_pronoun_resolution:1.1.0",
    preprocess=f"{__name__}:dpr_simple",
    metrics=("accuracy",),
    splits=("train", "test"),
)
