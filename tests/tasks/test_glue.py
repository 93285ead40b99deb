"""Tests t5x_lite/tasks/glue.py

The expected texts are those of t5/data/preprocessors_test.py, and examples of T5's tasks in the README of KE-T5.
"""

import numpy as np
import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.tasks import glue
from t5x_lite.tasks.formats import Classification
from tests.tasks.reading import check_names, examples, held_out, prepare, texts

TASKS = {name: task for name, task in vars(glue).items() if name.isupper() and hasattr(task, "source")}
MNLI = {
    "premise": "Other villages are much less developed, and therein lies the essence of many delights.",
    "hypothesis": "The other villages and settlements are not as developed.",
    "idx": 3,
}
MNLI_INPUTS = (
    "mnli hypothesis: The other villages and settlements are not as developed. premise: Other villages are much less "
    "developed, and therein lies the essence of many delights."
)
PUBLISHED = {
    "COLA": (
        {"sentence": "That picture of Susan offended her.", "idx": 3},
        "cola sentence: That picture of Susan offended her.",
        ["unacceptable", "acceptable"],
    ),
    "SST2": (
        {"sentence": "a valueless kiddie paean to pro basketball underwritten by the nba.", "idx": 3},
        "sst2 sentence: a valueless kiddie paean to pro basketball underwritten by the nba.",
        ["negative", "positive"],
    ),
    "MRPC": (
        {
            "sentence1": "The show's closure affected third-quarter earnings per share by a penny.",
            "sentence2": "The company said this impacted earnings by a penny a share.",
            "idx": 3,
        },
        "mrpc sentence1: The show's closure affected third-quarter earnings per share by a penny. sentence2: The "
        "company said this impacted earnings by a penny a share.",
        ["not_equivalent", "equivalent"],
    ),
    "QQP": (
        {
            "question1": "Who is going to be a better president - Hillary Clinton or Donald Trump?",
            "question2": "In what aspects is Hillary Clinton better than Trump?",
            "idx": 3,
        },
        "qqp question1: Who is going to be a better president - Hillary Clinton or Donald Trump? question2: In what "
        "aspects is Hillary Clinton better than Trump?",
        ["not_duplicate", "duplicate"],
    ),
    "MNLI_MATCHED": (MNLI, MNLI_INPUTS, ["entailment", "neutral", "contradiction"]),
    "MNLI_MISMATCHED": (MNLI, MNLI_INPUTS, ["entailment", "neutral", "contradiction"]),
    "AX": (MNLI, MNLI_INPUTS, ["entailment", "neutral", "contradiction"]),
    "QNLI": (
        {
            "question": "When were the finalists announced?",
            "sentence": "The South Florida/Miami area has previously hosted the event 10 times.",
            "idx": 3,
        },
        "qnli question: When were the finalists announced? sentence: The South Florida/Miami area has previously "
        "hosted the event 10 times.",
        ["entailment", "not_entailment"],
    ),
    "RTE": (
        {
            "sentence1": "Tropical Storm Irene will increase in strength over the next several days.",
            "sentence2": "A storm called Irene is going to approach the east coast of the US.",
            "idx": 3,
        },
        "rte sentence1: Tropical Storm Irene will increase in strength over the next several days. sentence2: A storm "
        "called Irene is going to approach the east coast of the US.",
        ["entailment", "not_entailment"],
    ),
    "WNLI": (
        {"sentence1": "The fish ate the worm. It was tasty.", "sentence2": "The worm was tasty.", "idx": 3},
        "wnli sentence1: The fish ate the worm. It was tasty. sentence2: The worm was tasty.",
        ["not_entailment", "entailment"],
    ),
}


def test_every_set_but_the_one_of_numbers_is_pinned_here():
    assert PUBLISHED.keys() | {"STSB"} == TASKS.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_set_has_t5s_text_and_a_word_for_each_class(name):
    record, inputs, classes = PUBLISHED[name]
    for label, word in enumerate(classes):
        assert texts(TASKS[name], {**record, "label": label}) == [(inputs, word)]
    with pytest.raises(BadRecord):
        texts(TASKS[name], {**record, "label": len(classes)})


@pytest.mark.parametrize(("label", "targets"), [(0, "not_duplicate"), (1, "duplicate"), (-1, "<unk>")])
def test_t5s_example_of_the_general_format(label, targets):
    record = {"q1": "How so?", "q2": "Why not?", "q3": "Who?", "idx": 10, "label": label}
    three = Classification("qqp q1: {q1} q2: {q2} q3: {q3}", ("not_duplicate", "duplicate"))
    assert three(record) == {"inputs": "qqp q1: How so? q2: Why not? q3: Who?", "targets": targets}
    two = Classification("qqp q3: {q3} q1: {q1}", ("not_duplicate", "duplicate"))
    assert two(record) == {"inputs": "qqp q3: Who? q1: How so?", "targets": targets}


# 2.5 and 0.1 are halfway between two steps: T5 rounds half to even, and 0.1 times 5 in float32, where it is 0.5.
@pytest.mark.parametrize(
    ("label", "targets"),
    [(2.8, "2.8"), (1.66, "1.6"), (0.0, "0.0"), (5.0, "5.0"), (2.5, "2.4"), (3.5, "3.6"), (0.1, "0.0"), (-1, "-1.0")],
)
def test_a_similarity_is_rounded_to_the_nearest_fifth(label, targets):
    record = {"sentence1": "Big news.", "sentence2": "No idea.", "label": float(np.float32(label)), "idx": 10}
    assert texts(glue.STSB, record) == [("stsb sentence1: Big news. sentence2: No idea.", targets)]


@pytest.mark.parametrize("name", TASKS)
def test_what_a_task_names_exists(name):
    check_names(TASKS[name])


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("COLA", ("matthews",)),
        ("SST2", ("accuracy",)),
        ("MRPC", ("f1:equivalent", "accuracy")),
        ("QQP", ("f1:duplicate", "accuracy")),
        ("STSB", ("pearson", "spearman")),
        ("MNLI_MATCHED", ("accuracy",)),
        ("MNLI_MISMATCHED", ("accuracy",)),
        ("QNLI", ("accuracy",)),
        ("RTE", ("accuracy",)),
        ("WNLI", ("accuracy",)),
        ("AX", ()),
    ],
)
def test_a_task_is_measured_as_t5_measures_it(name, metrics):
    assert TASKS[name].metrics == metrics


@pytest.mark.parametrize("name", sorted(TASKS.keys() - {"MNLI_MATCHED", "MNLI_MISMATCHED", "AX"}))
def test_a_task_reads_the_set_of_its_name(name):
    source = f"tfds:glue/{name.lower()}:2.0.0"
    assert (TASKS[name].source, TASKS[name].eval_source) == (f"{source}@train", f"{source}@validation")


@pytest.mark.parametrize(
    ("name", "eval_source"),
    [
        ("MNLI_MATCHED", "tfds:glue/mnli:2.0.0@validation_matched"),
        ("MNLI_MISMATCHED", "tfds:glue/mnli:2.0.0@validation_mismatched"),
        ("AX", "tfds:glue/ax:2.0.0@test"),
    ],
)
def test_inference_is_learned_from_mnli_and_held_out_in_three_sets(name, eval_source):
    assert (TASKS[name].source, TASKS[name].eval_source) == ("tfds:glue/mnli:2.0.0@train", eval_source)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "a", "label": 1}, "a record has no field 'sentence', which T5's format 'cola sentence: {sentence}'"),
        ({"sentence": "a"}, "a record has nothing in 'label', but T5's format needs int; its fields are sentence"),
        ({"sentence": "a", "label": "1"}, "a record has str in 'label', but T5's format needs int"),
        ({"sentence": "a", "label": -2}, r"a record has -2 in 'label', .* 0 to 1 \(unacceptable, acceptable\)"),
    ],
)
def test_a_record_of_another_set_is_named(record, message):
    with pytest.raises(BadRecord, match=message):
        examples(glue.COLA, record)


def test_cola_is_read_from_its_data_set(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "sentence": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=["unacceptable", "acceptable"]),
        "idx": np.int32,
    }
    records = [{"sentence": f"Sätze {i}", "label": i - 1, "idx": i} for i in range(3)]
    prepare(monkeypatch, tmp_path, "glue/cola:2.0.0", features, {"validation": records})
    read = [pair for record in held_out(glue.COLA, tmp_path) for pair in texts(glue.COLA, record)]
    assert sorted(read) == [
        ("cola sentence: Sätze 0", "<unk>"),
        ("cola sentence: Sätze 1", "unacceptable"),
        ("cola sentence: Sätze 2", "acceptable"),
    ]


def test_a_similarity_is_read_from_its_data_set(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    features = {name: tfds.features.Text() for name in ("sentence1", "sentence2")}
    record = {"sentence1": "Big news.", "sentence2": "No idea.", "label": 1.66, "idx": 10}
    data_set = "glue/stsb:2.0.0"
    prepare(
        monkeypatch,
        tmp_path,
        data_set,
        {**features, "label": np.float32, "idx": np.int32},
        {"validation": [record]},
    )
    (read,) = held_out(glue.STSB, tmp_path)
    assert texts(glue.STSB, read) == [("stsb sentence1: Big news. sentence2: No idea.", "1.6")]
