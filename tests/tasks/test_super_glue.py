"""Tests t5x_lite/tasks/super_glue.py

The expected texts are those of t5/data/preprocessors_test.py and of docstrings in t5/data/preprocessors.py, and
examples of T5's tasks in the README of KE-T5.
"""

import numpy as np
import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.tasks import super_glue
from tests.tasks.reading import check_names, examples, held_out, prepare, texts

TASKS = {name: task for name, task in vars(super_glue).items() if name.isupper() and hasattr(task, "source")}
RTE_INPUTS = "rte hypothesis: A storm called Irene is going to approach. premise: Irene will increase in strength."
PUBLISHED = {
    "BOOLQ": (
        {
            "question": "does cedar point still have the demon drop",
            "passage": "Demon Drop -- Demon Drop is a drop tower amusement ride.",
            "idx": 3,
        },
        "boolq passage: Demon Drop -- Demon Drop is a drop tower amusement ride. question: does cedar point still have "
        "the demon drop",
        ["False", "True"],
    ),
    "CB": (
        {
            "premise": "Nobody will blame me if I say that in the circumstances I became very uneasy.",
            "hypothesis": "in the circumstances she became very uneasy",
            "idx": 3,
        },
        "cb hypothesis: in the circumstances she became very uneasy premise: Nobody will blame me if I say that in the "
        "circumstances I became very uneasy.",
        ["entailment", "contradiction", "neutral"],
    ),
    "COPA": (
        {
            "premise": "The tree branch landed in the river.",
            "choice1": "The branch moved downstream.",
            "choice2": "The river's current became stronger.",
            "question": "effect",
            "idx": 3,
        },
        "copa choice1: The branch moved downstream. choice2: The river's current became stronger. premise: The tree "
        "branch landed in the river. question: effect",
        ["choice1", "choice2"],
    ),
    "RTE": (
        {
            "premise": "Irene will increase in strength.",
            "hypothesis": "A storm called Irene is going to approach.",
            "idx": 3,
        },
        RTE_INPUTS,
        ["entailment", "not_entailment"],
    ),
    "AXG": (
        {
            "premise": "Irene will increase in strength.",
            "hypothesis": "A storm called Irene is going to approach.",
            "idx": 3,
        },
        RTE_INPUTS,
        ["entailment", "not_entailment"],
    ),
    "AXB": (
        {
            "sentence1": "Irene will increase in strength.",
            "sentence2": "A storm called Irene is going to approach.",
            "idx": 3,
        },
        RTE_INPUTS,
        ["entailment", "not_entailment"],
    ),
    "WIC": (
        {
            "word": "longevity",
            "sentence1": "Had unusual longevity in the company.",
            "sentence2": "Her longevity as a star.",
            "start1": 12,
            "start2": 4,
            "end1": 21,
            "end2": 13,
            "idx": 3,
        },
        "wic sentence1: Had unusual longevity in the company. sentence2: Her longevity as a star. word: longevity",
        ["False", "True"],
    ),
    "MULTIRC": (
        {
            "paragraph": "<b>Sent 1: </b>Once upon a time, there was a squirrel named Joey.<br><b>Sent 2: </b>Joey "
            "loved to go outside and play with his cousin Jimmy.",
            "question": "Why was Joey surprised the morning he woke up for breakfast?",
            "answer": "There was only pie to eat",
            "idx": {"paragraph": 5, "question": 1, "answer": 3},
        },
        "multirc question: Why was Joey surprised the morning he woke up for breakfast? answer: There was only pie to "
        "eat paragraph: Sent 1: Once upon a time, there was a squirrel named Joey. Sent 2: Joey loved to go outside "
        "and play with his cousin Jimmy.",
        ["False", "True"],
    ),
    "WSC": (
        {
            "text": "This is a test sentence .",
            "span1_text": "test",
            "span1_index": 3,
            "span2_text": "This",
            "span2_index": 0,
            "idx": 3,
        },
        "wsc text: # This # is a * test * sentence .",
        ["False", "True"],
    ),
}
RECORD = {
    "query": "It was @placeholder.",
    "entities": ["A", "B", "C"],
    "passage": "This is the passage\n@highlight\nAnother sentence.\n@highlight\nThird sentence.",
    "answers": ["A", "C"],
    "idx": {"passage": 1, "query": 2},
}
RECORD_INPUTS = (
    "record query: It was @placeholder. entities: A, B, C passage: This is the passage. Another sentence. Third "
    "sentence."
)
MITCHELL = {
    "text": "Mitchell asked Tom if he could lend some money.",
    "span1_text": "Tom",
    "span1_index": 2,
    "span2_text": "he",
    "span2_index": 4,
    "idx": 1,
}
MITCHELL_INPUTS = "wsc: Mitchell asked Tom if *he* could lend some money."


def test_every_set_is_pinned_here():
    others = {"RECORD", "WSC_SIMPLE", "WSC_SIMPLE_EVAL", "DPR_SIMPLE"}
    assert PUBLISHED.keys() | others == TASKS.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_set_has_t5s_text_and_a_word_for_each_class(name):
    record, inputs, classes = PUBLISHED[name]
    for label, word in [*enumerate(classes), (-1, "<unk>")]:
        assert texts(TASKS[name], {**record, "label": label}) == [(inputs, word)]
    with pytest.raises(BadRecord):
        texts(TASKS[name], {**record, "label": len(classes)})


def test_the_answers_to_a_question_of_a_paragraph_are_one_group():
    record, *_ = PUBLISHED["MULTIRC"]

    def group(**idx):
        (example,) = examples(super_glue.MULTIRC, {**record, "label": 0, "idx": {**record["idx"], **idx}})
        return example["group"]

    assert group(answer=3) == group(answer=4)
    others = [(6, 1), (5, 2), (1, 5), (51, 2), (5, 12)]
    assert len({group(), *(group(paragraph=paragraph, question=question) for paragraph, question in others)}) == 6


def test_html_is_removed_from_all_of_multirc():
    record, *_ = PUBLISHED["MULTIRC"]
    record = {**record, "question": "<b>Why?</b>", "answer": "No<br>reason <i>", "paragraph": "b>", "label": 1}
    assert texts(super_glue.MULTIRC, record) == [
        ("multirc question: Why? answer: No reason <i> paragraph: b>", "True"),
    ]


def test_a_query_has_one_example_per_accepted_answer():
    first, second = examples(super_glue.RECORD, RECORD)
    assert texts(super_glue.RECORD, RECORD) == [(RECORD_INPUTS, "A"), (RECORD_INPUTS, "C")]
    assert first["answers"] == second["answers"] == ["A", "C"]


def test_the_examples_of_a_query_are_one_group():
    def groups(**idx):
        return {example["group"] for example in examples(super_glue.RECORD, {**RECORD, "idx": idx})}

    assert len(groups(passage=1, query=2)) == 1
    assert len(groups(passage=1, query=2) | groups(passage=1, query=3) | groups(passage=2, query=2)) == 3


def test_a_query_without_answers_is_one_example():
    (example,) = examples(super_glue.RECORD, {**RECORD, "answers": []})
    assert (example["inputs"], example["targets"], example["answers"]) == (RECORD_INPUTS, "<unk>", [])


@pytest.mark.parametrize("end", [".", "?", "!", '"', "'"])
def test_a_highlight_after_the_end_of_a_sentence_gets_no_full_stop(end):
    record = {**RECORD, "passage": f"One{end}\n@highlight\nTwo:\n@highlight\nThree\n@highlight", "answers": ["A"]}
    ((inputs, _),) = texts(super_glue.RECORD, record)
    assert inputs.endswith(f"passage: One{end} Two:. Three\n@highlight")


@pytest.mark.parametrize(
    ("noun", "pronoun", "expected"),
    [
        (("Bob's (old) dog", 1), ("it", 5), "Did * Bob's (old) dog * like # it # ?"),
        (("it", 5), ("Did", 0), "# Did # Bob's (old) dog like * it * ?"),
        (("Bob", 1), ("like", 2), "Did * Bob *'s (old) dog like it ?"),
    ],
)
def test_the_spans_of_wsc_are_marked_where_their_words_begin(noun, pronoun, expected):
    record = {"text": "Did Bob's (old) dog like it ?", "label": 0, "span1_text": noun[0], "span1_index": noun[1]}
    record |= {"span2_text": pronoun[0], "span2_index": pronoun[1]}
    assert texts(super_glue.WSC, record) == [(f"wsc text: {expected}", "False")]


def test_a_space_that_does_not_break_is_inside_a_word_of_wsc():
    record = {"text": "No\u00a0one saw it ?", "span1_text": "saw", "span1_index": 1}
    record |= {"span2_text": "it", "span2_index": 2, "label": 1}
    assert texts(super_glue.WSC, record) == [("wsc text: No\u00a0one * saw * # it # ?", "True")]


def test_wsc_trains_on_the_right_nouns_alone():
    wrong = {**MITCHELL, "span1_text": "Mitchell", "span1_index": 0}
    assert texts(super_glue.WSC_SIMPLE, {**MITCHELL, "label": 1}) == [(MITCHELL_INPUTS, "Tom")]
    assert texts(super_glue.WSC_SIMPLE, {**wrong, "label": 0}) == []
    assert texts(super_glue.WSC_SIMPLE, {**wrong, "label": -1}) == []


@pytest.mark.parametrize(
    ("label", "more"),
    [
        (1, {"label": "True", "is_correct": True}),
        (0, {"label": "False", "is_correct": False}),
        (-1, {"label": "<unk>"}),
    ],
)
def test_wsc_may_be_evaluated_on_every_noun_with_its_label(label, more):
    (example,) = examples(super_glue.WSC_SIMPLE_EVAL, {**MITCHELL, "label": label})
    assert example == {"inputs": MITCHELL_INPUTS, "targets": "Tom"} | more
    assert super_glue.WSC_SIMPLE_EVAL.metrics == ("wsc_accuracy",)


@pytest.mark.parametrize(
    ("text", "pronoun", "index", "expected"),
    [
        (
            "The boy continued to whip the pony , and eventually the pony threw him over. John laughed out quite loud. "
            '"Good for him," he said. ',
            "him",
            21,
            "The boy continued to whip the pony , and eventually the pony threw him over. John laughed out quite loud. "
            '"Good for *him* ," he said.',
        ),
        (
            "When they had eventually calmed down a bit , and had gotten home, Mr. Farley put the magic pebble in an "
            "iron safe . Some day they might want to use it , but really for now, what more could they wish for?",
            "it",
            29,
            "When they had eventually calmed down a bit , and had gotten home, Mr. Farley put the magic pebble in an "
            "iron safe . Some day they might want to use *it* , but really for now, what more could they wish for?",
        ),
    ],
)
def test_the_two_pronouns_that_wsc_misplaces_are_found(text, pronoun, index, expected):
    record = {**MITCHELL, "text": text, "span2_text": pronoun, "span2_index": index, "label": 1}
    assert texts(super_glue.WSC_SIMPLE, record) == [(f"wsc: {expected}", "Tom")]


@pytest.mark.parametrize("index", [3, 9, -5])
def test_a_pronoun_that_is_not_there_is_refused(index):
    record = {**MITCHELL, "span2_index": index, "label": 1}
    with pytest.raises(BadRecord, match=f"has {index} in 'span2_index', .* not the 'span2_text' 'he': read super_glue"):
        examples(super_glue.WSC_SIMPLE, record)


@pytest.mark.parametrize(
    ("sentence", "pronoun", "candidates", "label", "expected"),
    [
        (
            "Mitchell asked Tom if he could lend some money.",
            "he",
            ["Mitchell", "Tom"],
            1,
            ("wsc: Mitchell asked Tom if *he* could lend some money.", "Tom"),
        ),
        (
            "Bill beat Tom at Scrabble because that newbie had all the luck.",
            "that newbie",
            ["Bill", "Tom"],
            0,
            ("wsc: Bill beat Tom at Scrabble because *that newbie* had all the luck.", "Bill"),
        ),
        (
            "Carl borrowed a book from Richard, but the book was unreadable to him.",
            "him",
            ["Carl", "Richard"],
            0,
            ("wsc: Carl borrowed a book from Richard, but the book was unreadable to *him*.", "Carl"),
        ),
        (
            "Ann saw Sue, since she, not he, was where she was.",
            "she",
            ["Ann", "Sue"],
            1,
            ("wsc: Ann saw Sue, since *she*, not he, was where she was.", "Sue"),
        ),
        (
            "Ann saw Sue as (s)he left.",
            "(s)he",
            ["Ann", "Sue"],
            0,
            ("wsc: Ann saw Sue as *(s)he* left.", "Ann"),
        ),
    ],
)
def test_the_first_pronoun_of_a_sentence_is_resolved(sentence, pronoun, candidates, label, expected):
    record = {"sentence": sentence, "pronoun": pronoun, "candidates": candidates, "label": label}
    assert texts(super_glue.DPR_SIMPLE, record) == [expected]


@pytest.mark.parametrize("name", TASKS)
def test_what_a_task_names_exists(name):
    check_names(TASKS[name])


@pytest.mark.parametrize("name", ["BOOLQ", "CB", "COPA", "MULTIRC", "RECORD", "RTE", "WIC"])
def test_a_task_reads_the_set_of_its_name(name):
    source = f"tfds:super_glue/{name.lower()}:1.0.2"
    assert (TASKS[name].source, TASKS[name].eval_source) == (f"{source}@train", f"{source}@validation")


@pytest.mark.parametrize(
    ("name", "source", "eval_source"),
    [
        ("AXB", "glue/rte:2.0.0@train", "super_glue/axb:1.0.2@test"),
        ("AXG", "super_glue/rte:1.0.2@train", "super_glue/axg:1.0.2@test"),
        ("WSC", "super_glue/wsc.fixed:1.0.2@train", "super_glue/wsc.fixed:1.0.2@validation"),
        ("WSC_SIMPLE", "super_glue/wsc.fixed:1.0.2@train", "super_glue/wsc.fixed:1.0.2@validation"),
        ("WSC_SIMPLE_EVAL", "super_glue/wsc.fixed:1.0.2@train", "super_glue/wsc.fixed:1.0.2@validation"),
        ("DPR_SIMPLE", "definite_pronoun_resolution:1.1.0@train", "definite_pronoun_resolution:1.1.0@test"),
    ],
)
def test_the_other_tasks_read_what_has_their_form(name, source, eval_source):
    assert (TASKS[name].source, TASKS[name].eval_source) == (f"tfds:{source}", f"tfds:{eval_source}")


def test_record_is_read_from_its_data_set(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "query": tfds.features.Text(),
        "passage": tfds.features.Text(),
        "entities": tfds.features.Sequence(tfds.features.Text()),
        "answers": tfds.features.Sequence(tfds.features.Text()),
        "idx": tfds.features.FeaturesDict({"passage": np.int32, "query": np.int32}),
    }
    prepare(monkeypatch, tmp_path, "super_glue/record:1.0.2", features, {"validation": [RECORD]})
    (read,) = held_out(super_glue.RECORD, tmp_path)
    assert texts(super_glue.RECORD, read) == [(RECORD_INPUTS, "A"), (RECORD_INPUTS, "C")]
