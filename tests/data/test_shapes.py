"""Tests t5x_lite/data/shapes.py against the batches that a run makes of real text."""

import dataclasses

import numpy as np
import pytest

from t5x_lite.config import DataConfig, ModelOptions, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import ExampleSpec, make_examples
from t5x_lite.data.shapes import feature_shapes, vocab_rows
from t5x_lite.data.task_specs import resolve_tasks

TEXT = TaskConfig(packages=("optax",), tokenizer=TokenizerConfig(kind="bytes_and_sentinels"))
LENGTHS = TrainConfig(inputs_length=40)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    return prepare_corpora(resolve_tasks(TEXT), tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize(
    ("architecture", "objective"),
    [
        ("encoder_decoder", "span_corruption"),
        ("encoder_decoder", "ul2"),
        ("causal_lm", "causal_lm"),
        ("causal_lm", "prefix_lm"),
        ("prefix_lm", "prefix_lm"),
        ("masked_lm", "masked_lm"),
    ],
)
def test_the_features_of_text_are_those_of_its_batches(corpora, architecture, objective):
    task = dataclasses.replace(TEXT, objective=objective)
    cfg = RunConfig(run_dir="unused", task=task, model=ModelOptions(architecture=architecture), train=LENGTHS)
    spec = ExampleSpec.from_config(cfg, resolve_tasks(task))
    examples = make_examples(spec, {"": dataclasses.replace(corpora[""], task=task)})
    first = np.zeros(1, np.int64)
    batch = examples.convert(examples.train(first, first))
    assert feature_shapes(spec) == {name: values.shape[1:] for name, values in batch.items()}


PAIRS = TaskConfig(source="pairs.jsonl", inputs="{a}", targets="{b}")


def features(packing="none", architecture="encoder_decoder", **train):
    task = dataclasses.replace(PAIRS, labels=("x", "y")) if "classifier" in architecture else PAIRS
    cfg = RunConfig(
        run_dir="unused",
        model=ModelOptions(architecture=architecture),
        data=DataConfig(packing=packing),
        train=TrainConfig(inputs_length=40, **train),
    )
    return feature_shapes(ExampleSpec.from_config(cfg, resolve_tasks(task)))


def test_packed_pairs_have_segments_and_positions():
    shapes = features("best_fit", targets_length=12)
    assert shapes.pop("encoder_segment_ids") == shapes.pop("encoder_positions") == (40,)
    assert shapes.pop("decoder_segment_ids") == shapes.pop("decoder_positions") == (12,)
    assert shapes == features(targets_length=12)


def test_classifiers_have_a_label_a_sequence_or_a_token():
    assert features(architecture="sequence_classifier")["target_labels"] == (1,)
    assert features(architecture="token_classifier")["target_labels"] == (40,)


def test_pairs_without_a_length_of_targets_are_refused():
    with pytest.raises(ValueError, match=r"train.targets_length is null, but a task with task.targets needs it"):
        features()


@pytest.mark.parametrize(
    ("cfg", "rows"),
    [
        (TokenizerConfig(kind="bytes"), 384),
        (TokenizerConfig(vocab_size=32_100), 32_128),
        (TokenizerConfig(vocab_size=1_024), 1_024),
    ],
)
def test_the_vocabulary_is_padded_to_a_multiple_of_128(cfg, rows, capsys):
    assert vocab_rows(cfg) == rows
    assert not capsys.readouterr().err


def test_a_vocabulary_that_is_not_here_has_the_size_the_config_gives_and_that_is_said(capsys):
    assert vocab_rows(TokenizerConfig(path="/nowhere/spiece.model", vocab_size=32_100)) == 32_128
    assert "task.tokenizer.path /nowhere/spiece.model does not exist" in capsys.readouterr().err
