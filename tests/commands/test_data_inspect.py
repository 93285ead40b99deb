"""Tests t5x_lite/commands/data_inspect.py"""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from t5x_lite.commands import data_inspect
from t5x_lite.config import READ_BY_OBJECTIVE, ModelOptions, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.data.converters import encoder_decoder
from t5x_lite.data.dataset import make_examples
from t5x_lite.data.packing import fill_rows
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.training.resolve import resolve_run
from t5x_lite.training.run_dir import RunDirectory

TEXT = "The quick brown fox jumps over the lazy dog, and number {} is the one that does."


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": TEXT.format(i)}) for i in range(60)))
    task = TaskConfig(
        source=str(tmp_path / "a.jsonl"), min_characters=9, eval_percent=20, tokenizer=TokenizerConfig(kind="bytes")
    )
    return RunConfig(run_dir=str(tmp_path / "run"), task=task, train=TrainConfig(inputs_length=40))


def read(corpus):
    """All ids that are learned from."""
    return corpus.train.tokens.read(np.array([0]), np.array([len(corpus.train.tokens)]))[0]


def encoded(text, tokenizer):
    return [*tokenizer.encode(text), tokenizer.eos_id]


def test_the_blanks_are_filled_in_and_marked():
    tokenizer = ByteTokenizer(num_sentinels=10)
    inputs = encoded("Thank you<extra_id_0> me to<extra_id_1> party.", tokenizer)
    targets = encoded("<extra_id_0> for inviting<extra_id_1> your", tokenizer)
    marked = data_inspect.marked_text(inputs, targets, tokenizer)
    assert marked == "Thank you\u27e6 for inviting\u27e7 me to\u27e6 your\u27e7 party."


def test_an_example_shows_what_the_model_gets():
    tokenizer = ByteTokenizer(num_sentinels=10)
    inputs, targets = [100, 258, 101, 1], [258, 102, 103, 1]
    batch = encoder_decoder({"inputs": np.array([[*inputs, 0, 0]]), "targets": np.array([[*targets, 0]])})
    assert list(data_inspect.shown(batch, tokenizer)) == [
        {
            "text": "a\u27e6cd\u27e7b",
            "inputs": "a<extra_id_0>b",
            "targets": "<extra_id_0>cd",
            "predicted": None,
            "encoder_input_tokens": inputs,
            "decoder_input_tokens": [0, 258, 102, 103],
            "decoder_target_tokens": targets,
            "inputs_length": 6,
            "targets_length": 5,
        }
    ]


def test_the_examples_are_those_that_training_sees(cfg, capsys):
    data_inspect.run(cfg, num_examples=4, start=3, as_json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["example"] for row in rows] == [3, 4, 5, 6]
    run = resolve_run(cfg)
    examples = make_examples(run.examples, data_inspect.open_corpora(run))
    batches = train_batches(examples.train, batch_size=1, data=cfg.data)
    for row, batch in zip(rows, itertools.islice(batches, 3, 7), strict=True):
        assert row["encoder_input_tokens"] == batch["encoder_input_tokens"][0].tolist()  # full, so without padding


def test_a_marked_text_is_the_text(cfg, capsys):
    data_inspect.run(cfg, num_examples=2)
    lines = capsys.readouterr().out.splitlines()
    texts = [line.removeprefix("text     ") for line in lines if line.startswith("text")]
    whole = ByteTokenizer().decode(read(data_inspect.open_corpora(resolve_run(cfg))[""]))
    assert len(texts) == 2
    for text in texts:
        assert text.count("\u27e6") == text.count("\u27e7") == 2
        assert text.replace("\u27e6", "").replace("\u27e7", "") in whole


def test_a_pair_has_no_marked_text(cfg):
    tokenizer = ByteTokenizer()
    inputs, targets = (np.array([encoded(text, tokenizer)]) for text in ("question", "answer"))
    batch = encoder_decoder({"inputs": inputs, "targets": targets})
    (example,) = data_inspect.shown(batch, tokenizer)
    described = data_inspect.described({"example": 7} | example)
    assert described.splitlines()[:3] == ["== example 7", "inputs   question", "targets  answer"]
    assert "encoder input, 9 of 9 places: 116 120" in described


def test_the_examples_of_a_packed_row_are_shown_one_by_one():
    tokenizer = ByteTokenizer(num_sentinels=10)
    pairs = [
        {name: np.array(encoded(text, tokenizer)) for name, text in zip(("inputs", "targets"), texts, strict=True)}
        for texts in (("one", "eins"), ("three", "drei"))
    ]
    batch = encoder_decoder(fill_rows([pairs], {"inputs": 20, "targets": 13}))
    first, second = data_inspect.shown(batch, tokenizer)
    assert (second["segment"], second["inputs"], second["targets"]) == ("2 of 2", "three", "drei")
    assert second["decoder_input_tokens"] == [0, *second["decoder_target_tokens"][:-1]]
    assert first["encoder_input_tokens"] == encoded("one", tokenizer)
    assert data_inspect.described({"example": 4} | first).startswith("== example 4, 1 of 2 in its row\n")


def test_what_is_predicted_is_shown_where_it_is_not_all():
    tokenizer = ByteTokenizer(num_sentinels=10)
    rows = {"inputs": np.array([[258, 101, 1]]), "targets": np.array([[100, 101, 1]])}
    (example,) = data_inspect.shown(encoder_decoder(rows | {"loss_weights": np.array([[1, 0, 0]])}), tokenizer)
    assert example["predicted"] == ["a"]
    assert "predicted a\n" in data_inspect.described({"example": 0} | example)


@pytest.mark.parametrize("objective", READ_BY_OBJECTIVE)
def test_every_objective_is_shown(cfg, objective, capsys):
    task = dataclasses.replace(cfg.task, objective=objective)
    data_inspect.run(
        dataclasses.replace(cfg, task=task, train=TrainConfig(inputs_length=120)), num_examples=8, as_json=True
    )
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    whole = ByteTokenizer().decode(read(data_inspect.open_corpora(resolve_run(cfg))[""]))
    joined = [row["inputs"] + row["targets"] for row in rows]
    if objective in ("prefix_lm", "causal_lm"):
        assert all(text in whole for text in joined)
    elif objective == "masked_lm":
        assert all(row["targets"] in whole and "<extra_id_0>" in row["inputs"] and row["predicted"] for row in rows)
    else:
        marked = [row["text"].split("]")[-1].replace("\u27e6", "").replace("\u27e7", "") for row in rows if row["text"]]
        assert marked
        assert all(text in whole for text in marked)


def test_the_text_of_a_run_in_progress_can_be_looked_at(cfg, capsys):
    data_inspect.run(cfg, num_examples=1)
    first = capsys.readouterr()
    assert "Tokenised 60 documents" in first.err
    with RunDirectory(cfg.run_dir):  # as a training has it
        data_inspect.run(cfg, num_examples=1)
    assert capsys.readouterr() == (first.out, "")


def test_another_text_than_the_runs_is_refused(cfg):
    data_inspect.run(cfg, num_examples=1)
    other = TaskConfig(source="docstrings", tokenizer=cfg.task.tokenizer)
    with pytest.raises(ValueError, match=r"task.source is docstrings, but the text in .* was prepared with"):
        data_inspect.run(RunConfig(run_dir=cfg.run_dir, task=other, train=cfg.train))


def test_the_features_of_another_model_than_an_encoder_decoder_are_shown(cfg, capsys):
    cfg = dataclasses.replace(
        cfg,
        task=dataclasses.replace(cfg.task, objective="prefix_lm"),
        model=ModelOptions(architecture="prefix_lm"),
    )
    data_inspect.run(cfg, num_examples=2)
    shown = capsys.readouterr().out
    assert shown.count("\ndecoder_causal_attention: 1 1 1") == 2
    assert "encoder input" not in shown
