"""Tests t5x_lite/data/features.py"""

import dataclasses
import pickle

import numpy as np
import pytest

from t5x_lite.config import DataConfig, MixtureConfig, ModelOptions, RunConfig, TaskConfig
from t5x_lite.data.features import labels_of, make_converter
from t5x_lite.data.tokenizers import ByteTokenizer

BYTES = ByteTokenizer(10)
PAIRS = {"inputs": "{q}", "targets": "{a}", "source": "a.jsonl"}
ROWS = {
    "inputs": np.array([[7, 8, 1, 0, 0], [9, 258, 6, 7, 1]], np.int32),
    "targets": np.array([[124, 104, 118, 1], [113, 114, 1, 0]], np.int32),  # yes, no
}
ENCODER = {"encoder_input_tokens"}
DECODER = {"decoder_input_tokens", "decoder_target_tokens", "decoder_loss_weights"}


def converter(architecture, *, packing="none", **task):
    cfg = RunConfig(run_dir="unused", task=TaskConfig(**task), model=ModelOptions(architecture=architecture))
    return make_converter(dataclasses.replace(cfg, data=DataConfig(packing=packing)), BYTES)


@pytest.mark.parametrize(
    ("architecture", "task", "names"),
    [
        ("encoder_decoder", {}, ENCODER | DECODER),
        ("causal_lm", {"objective": "causal_lm"}, DECODER),
        ("causal_lm", PAIRS, DECODER),
        ("prefix_lm", {"objective": "prefix_lm"}, DECODER | {"decoder_causal_attention"}),
        ("prefix_lm", PAIRS, DECODER | {"decoder_causal_attention"}),
        ("masked_lm", {"objective": "masked_lm"}, ENCODER | {"encoder_target_tokens", "encoder_loss_weights"}),
        ("sequence_classifier", PAIRS | {"labels": ("no", "yes")}, ENCODER | {"target_labels", "label_weights"}),
    ],
)
def test_each_architecture_gets_the_features_that_it_reads(architecture, task, names):
    convert = pickle.loads(pickle.dumps(converter(architecture, **task)))  # as worker processes get it
    rows = ROWS | {"targets": ROWS["inputs"]} if architecture == "masked_lm" else ROWS
    assert convert(rows).keys() == names


def test_a_text_is_learned_whole_and_the_targets_of_pairs_alone():
    causal = converter("causal_lm", objective="causal_lm")(ROWS)
    assert causal["decoder_target_tokens"].tolist() == ROWS["targets"].tolist()
    joined = converter("causal_lm", **PAIRS)(ROWS)
    assert joined["decoder_target_tokens"][0].tolist() == [7, 8, 124, 104, 118, 1, 0, 0, 0]
    assert joined["decoder_loss_weights"][0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]


def test_a_mixture_of_text_and_pairs_is_joined():
    mixture = MixtureConfig(tasks={"a": TaskConfig(objective="causal_lm"), "b": TaskConfig(**PAIRS)})
    assert converter("causal_lm", mixture=mixture)(ROWS)["decoder_target_tokens"].shape == (2, 9)


def test_the_labels_are_the_words_of_choices_unless_they_are_listed():
    task = TaskConfig(**PAIRS, choices={"1": "bad", "2": "bad", "5": "good"})
    assert labels_of(task) == ("bad", "good")
    assert labels_of(dataclasses.replace(task, labels=("good", "bad"))) == ("good", "bad")


def test_tasks_of_a_mixture_share_their_labels():
    one, other = (TaskConfig(**PAIRS, labels=labels) for labels in (("a", "b"), ("b", "a")))
    assert labels_of(TaskConfig(mixture=MixtureConfig(tasks={"x": one, "y": one}))) == ("a", "b")
    with pytest.raises(ValueError, match=r"task.labels of y and of x differ: a classifier has one list"):
        labels_of(TaskConfig(mixture=MixtureConfig(tasks={"x": one, "y": other})))


@pytest.mark.parametrize(
    ("architecture", "task", "message"),
    [
        ("sequence_classifier", {}, r"sequence_classifier and task.inputs is None.*: give task.inputs"),
        ("token_classifier", PAIRS, r"task.labels is null, and a classifier has to know"),
        ("sequence_classifier", PAIRS | {"labels": ("a", "b"), "packing": "best_fit"}, r"data.packing is 'best_fit'"),
        ("masked_lm", {}, r"masked_lm and task.objective is 'span_corruption'.*: use masked_lm"),
        ("masked_lm", PAIRS, r"task.inputs is '\{q\}'.*to learn from text"),
        ("causal_lm", {"objective": "masked_lm"}, r"task.objective is 'masked_lm'.*: use causal_lm"),
        ("prefix_lm", {"objective": "causal_lm"}, r"task.objective is 'causal_lm'.*: use prefix_lm"),
    ],
)
def test_a_task_that_asks_for_something_else_is_refused(architecture, task, message):
    with pytest.raises(ValueError, match=message):
        converter(architecture, **task)
