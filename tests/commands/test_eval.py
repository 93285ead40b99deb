"""Tests t5x_lite/commands/eval.py"""

import dataclasses
import importlib.util
import json
import math
import shutil

import numpy as np
import pytest
import yaml

from t5x_lite.checkpoints.load import load
from t5x_lite.commands import eval as eval_command
from t5x_lite.config import MixtureConfig, RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.converters import autoregressive_inputs
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.evaluation import answers as answers_module
from t5x_lite.evaluation.api import evaluate
from t5x_lite.files.progress import ProgressBar
from t5x_lite.inference.api import generate
from tests import tiny
from tests.held_out import (
    BATCH_SIZE,
    BYTES,
    INPUTS_LENGTH,
    MODEL,
    TARGETS_LENGTH,
    TEXT,
    WORDS,
    config,
    make_run,
    pairs,
    prepared,
    text,
    write_lines,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("measured"))


def measured(capsys, cfg, folder, **options):
    """What is printed as JSON."""
    eval_command.run(cfg, str(folder / "run"), print_json=True, **options)
    return json.loads(capsys.readouterr().out)


def rows_of(cfg, folder, **options):
    eval_command.run(cfg, str(folder / "run"), output=str(folder / "rows.jsonl"), **options)
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def padded(texts, length):
    rows = [[*ByteTokenizer().encode(text)[: length - 1], 1] for text in texts]
    return np.array([row + [0] * (length - len(row)) for row in rows], np.int32)


def nats_by_hand(inputs, targets):
    """The nats of each target token of all pairs, 0 on padding."""
    inputs_BS, targets_BT = padded(inputs, INPUTS_LENGTH), padded(targets, TARGETS_LENGTH)
    logits_BTV = tiny.logits(tiny.model(MODEL), inputs_BS, autoregressive_inputs(targets_BT)).astype(np.float64)
    nats_BT = np.log(np.exp(logits_BTV).sum(-1)) - np.take_along_axis(logits_BTV, targets_BT[..., None], -1)[..., 0]
    return nats_BT * (targets_BT > 0), targets_BT


def test_every_held_out_pair_counts_once(folder, capsys, monkeypatch):
    said = []
    monkeypatch.setattr(eval_command.Watchdog, "heartbeat", lambda watch: said.append(watch))
    found = measured(capsys, config(folder), folder)
    assert len(said) > 1  # at the beginning, and for each batch
    nats_BT, targets_BT = nats_by_hand([f"spell: {n}" for n in range(len(WORDS))], WORDS)
    assert found["eval/loss"] == pytest.approx(nats_BT.sum() / (targets_BT > 0).sum(), rel=1e-5)
    is_text_BT = targets_BT > 1
    assert found["eval/loss_text"] == pytest.approx(nats_BT[is_text_BT].sum() / is_text_BT.sum(), rel=1e-5)
    assert found["num_examples"] == 7


def test_the_json_names_the_checkpoint_and_the_task(folder, capsys):
    found = measured(capsys, config(folder), folder)
    facts = {"checkpoint": str(folder / "run"), "step": 12, "task": str(folder / "held.jsonl"), "num_examples": 7}
    assert facts.items() <= found.items()
    assert found.keys() - facts.keys() == {"eval/loss", "eval/loss_text", "eval/target_accuracy", "eval/unigram_text"}


def test_numbers_that_json_lacks_are_named(folder, capsys, monkeypatch):
    monkeypatch.setattr(eval_command, "measure", lambda *_: {"eval/matthews": math.nan})
    assert measured(capsys, config(folder), folder)["eval/matthews"] == "nan"


def test_rows_have_the_predictions_in_the_order_of_the_source(folder):
    rows = rows_of(config(folder), folder)
    lines = [f"spell: {n}" for n in range(len(WORDS))]
    answers = generate(load(folder / "run"), lines, max_new_tokens=TARGETS_LENGTH, batch_size=4)
    assert len(set(answers)) > 2  # else an order could not be told from another
    assert rows == [
        {"task": str(folder / "held.jsonl"), "inputs": line, "prediction": answer, "targets": word}
        for line, answer, word in zip(lines, answers, WORDS, strict=True)
    ]


def test_metrics_score_the_predictions_of_a_run_trained_without_them(folder, capsys, monkeypatch):
    answers = [row["prediction"] for row in rows_of(config(folder), folder)]
    right = [{"n": str(n), "word": answer if n in (1, 2, 5) else "wrong"} for n, answer in enumerate(answers)]
    write_lines(folder / "right.jsonl", right)
    task = pairs(folder, eval_source=str(folder / "right.jsonl"), metrics=("accuracy", "squad"))
    capsys.readouterr()
    found = measured(capsys, config(folder, task), folder)
    assert found["eval/accuracy"] == pytest.approx(100 * 3 / 7)
    assert {"eval/squad/em", "eval/squad/f1"} <= found.keys()
    # What the rows need is not decoded again for the metrics.
    calls, greedy = [], answers_module.predictions
    monkeypatch.setattr(answers_module, "predictions", lambda *args: (calls.append(args), greedy(*args))[1])
    again = measured(capsys, config(folder, task), folder, output=str(folder / "rows.jsonl"))
    assert again == found
    assert len(calls) == 1


def records_with_answers():
    return [{"n": str(n), "word": "long " * 5, "answers": [f"a{n}", "b"], "group": "g"} for n in range(3)]


def test_rows_have_the_accepted_answers_and_untruncated_targets(folder):
    task = pairs(
        folder, eval_source=write_lines(folder / "a.jsonl", records_with_answers()), preprocess="builtins:dict"
    )
    rows = rows_of(config(folder, task), folder)
    assert [row["answers"] for row in rows] == [["a0", "b"], ["a1", "b"], ["a2", "b"]]
    assert {row["targets"] for row in rows} == {"long " * 5}


def test_rows_of_text_have_corrupted_spans(folder, capsys):
    cfg = config(folder, text(folder), targets_length=None)
    rows = rows_of(cfg, folder)
    capsys.readouterr()
    found = measured(capsys, cfg, folder)
    assert len(rows) == found["num_examples"] > BATCH_SIZE
    assert all("<extra_id_0>" in row["inputs"] and row["targets"].startswith("<extra_id_0>") for row in rows)
    characters = "".join(row["targets"].split("<extra_id_")[1][2:] for row in rows)  # after the first blank
    assert set(characters) <= set("".join(TEXT.format(n) for n in range(60)))


def test_text_has_a_perplexity(folder, capsys):
    found = measured(capsys, config(folder, text(folder), targets_length=None), folder)
    assert found["eval/perplexity"] == pytest.approx(math.exp(found["eval/loss"]))
    assert found["eval/perplexity"] > 20
    assert 0 < found["eval/unigram_text"] < math.log(256)


def test_text_is_cut_into_examples_by_the_rules_of_the_run(folder, tmp_path, capsys):
    cfg, old = config(folder, text(folder), targets_length=None), tmp_path / "run"
    shutil.copytree(folder / "run", old)
    recorded = yaml.safe_load((old / "config.yaml").read_text())
    del recorded["revision"]  # as before there were any
    (old / "config.yaml").write_text(yaml.safe_dump(recorded))

    def num_examples(run_dir, revision=None):
        eval_command.run(dataclasses.replace(cfg, revision=revision), str(run_dir), print_json=True)
        return json.loads(capsys.readouterr().out)["num_examples"]

    assert num_examples(old) + 1 == num_examples(old, 2) == num_examples(folder / "run")
    assert evaluate(old, cfg) == evaluate(folder / "run", dataclasses.replace(cfg, revision=1))


def test_a_mixture_has_results_per_task_and_in_total(folder, capsys):
    shared = TokenizerConfig()
    deep = TaskConfig(mixture=MixtureConfig(tasks={"text": text(folder, tokenizer=shared)}))
    tasks = {"spell": pairs(folder, metrics=("accuracy",), tokenizer=shared), "deep": deep}
    cfg = config(folder, TaskConfig(mixture=MixtureConfig(tasks=tasks), tokenizer=BYTES))
    found = measured(capsys, cfg, folder)
    assert found["task"] == "spell, deep/text"
    assert {name for name in found if name.endswith("/accuracy")} == {"eval/spell/accuracy"}
    assert {name for name in found if "perplexity" in name} == {"eval/deep/text/perplexity"}
    spell, deep, both = (found[f"eval/{name}loss"] for name in ("spell/", "deep/text/", ""))
    alone = measured(capsys, config(folder, pairs(folder)), folder)
    assert spell == pytest.approx(alone["eval/loss"])
    assert min(spell, deep) < both < max(spell, deep)
    assert [row["task"] for row in rows_of(cfg, folder, num_batches=1)] == ["spell"] * 5 + ["deep/text"] * 5


def test_the_text_of_the_run_is_reused_for_the_same_task(folder, capsys):
    away = folder / "held.jsonl"
    away.rename(folder / "away.jsonl")
    try:
        eval_command.run(config(folder, pairs(folder, metrics=("accuracy",))), str(folder / "run"))
        assert capsys.readouterr().err == ""
        with pytest.raises(ValueError, match=r"held.jsonl' matches no file"):  # for other targets it has to be read
            eval_command.run(config(folder, pairs(folder, targets="{n}")), str(folder / "run"))
    finally:
        (folder / "away.jsonl").rename(away)


def test_training_text_is_not_read(folder, capsys):
    task = pairs(folder, source=str(folder / "nowhere.jsonl"))
    eval_command.run(config(folder, task), str(folder / "run"))
    told = capsys.readouterr().err
    assert "nowhere" not in told
    assert "Tokenising" in told
    assert "Tokenised 7 pairs" in told


def test_the_number_of_batches_may_be_limited(folder, capsys):
    cfg = config(folder)
    assert measured(capsys, cfg, folder, num_batches=1)["num_examples"] == BATCH_SIZE
    assert measured(capsys, cfg, folder, num_batches=9)["num_examples"] == len(WORDS)
    few = dataclasses.replace(cfg, eval=dataclasses.replace(cfg.eval, num_batches=1))  # that of training
    assert measured(capsys, few, folder)["num_examples"] == len(WORDS)
    with pytest.raises(ValueError, match="num_batches is 0: use a positive number"):
        evaluate(folder / "run", cfg, num_batches=0)


def cannot_be_loaded(checkpoint):
    raise AssertionError("the model was loaded")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metrics": ("acuracy",)}, "task.metrics has 'acuracy', which is not a metric"),
        ({"metrics": ("accuracy",), "inputs": None, "targets": None}, "but the task is plain text"),
        ({"base": "t5x_lite.tasks.glue:NONE"}, "task.base 't5x_lite.tasks.glue:NONE' cannot be imported"),
    ],
)
def test_a_wrong_task_is_refused_before_the_model_is_loaded(fields, message, folder, monkeypatch):
    monkeypatch.setattr(eval_command, "load", cannot_be_loaded)
    with pytest.raises(ValueError, match=message):
        eval_command.run(config(folder, pairs(folder, **fields)), str(folder / "run"))


@pytest.mark.parametrize("metric", ["bleu", "rouge"])
def test_a_missing_extra_is_named_before_the_model_is_loaded(metric, folder, monkeypatch):
    monkeypatch.setattr(eval_command, "load", cannot_be_loaded)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 't5x-lite\[eval\]'"):
        eval_command.run(config(folder, pairs(folder, metrics=(metric,))), str(folder / "run"))


def test_a_wrong_output_is_refused_before_the_model_is_loaded(folder, monkeypatch):
    monkeypatch.setattr(eval_command, "load", cannot_be_loaded)
    with pytest.raises(ValueError, match=r"--output .* is in a directory that does not exist"):
        eval_command.run(config(folder), "run", output=str(folder / "no" / "rows.jsonl"))
    with pytest.raises(ValueError, match="--json and --output - both print to standard output"):
        eval_command.run(config(folder), "run", output="-", print_json=True)


def test_text_prepared_with_the_models_tokenizer_is_read(folder, tmp_path, capsys):
    task = prepared(folder, tmp_path)
    found = measured(capsys, config(folder, task), folder)
    assert found["task"] == task.prepared
    assert found["eval/loss"] == evaluate(folder / "run", config(folder))["eval/loss"]
    spelt_otherwise = dataclasses.replace(task, tokenizer=TokenizerConfig(kind="bytes", vocab_size=500))
    assert evaluate(folder / "run", config(folder, spelt_otherwise))["eval/loss"] == found["eval/loss"]
    other = dataclasses.replace(task, inputs="read: {n}", targets="{word}")
    with pytest.raises(ValueError, match=r"task.inputs is read: {n}, but the text in .* was prepared with spell: {n}"):
        evaluate(folder / "run", config(folder, other))


def test_progress_counts_every_batch(folder, monkeypatch):
    class Counted(ProgressBar):
        num_seen, num_told = 0, 0

        def update(self, *, total):
            Counted.num_told += total

        def advance(self):
            Counted.num_seen += 1

    monkeypatch.setattr(eval_command, "ProgressBar", Counted)
    expected = 0
    for metrics, output, passes in (((), None, 1), (("accuracy",), None, 2), ((), str(folder / "rows.jsonl"), 2)):
        expected += 2 * passes
        eval_command.run(config(folder, pairs(folder, metrics=metrics)), str(folder / "run"), output=output)
        assert Counted.num_seen == Counted.num_told == expected


def test_predictions_can_be_piped(folder, capsys):
    eval_command.run(config(folder), str(folder / "run"), output="-")
    printed = capsys.readouterr()
    assert [json.loads(line)["targets"] for line in printed.out.splitlines()] == WORDS
    assert "held-out examples of" in printed.err


def test_the_table_has_a_line_for_each_number_losses_first():
    results = {"eval/accuracy": 12.5, "eval/loss": 2.25, "eval/unigram_text": 3.0}
    assert eval_command.table({"": 1234}, results).splitlines() == [
        "  examples                  1,234",
        "  loss                      2.250  nats per token",
        "  unigram entropy of text   3.000  nats per token",
        "  accuracy                 12.500  of 100",
    ]


NATS = ["nats", "per", "token"]


def test_the_table_of_a_mixture_names_each_task_once():
    results = {"eval/loss": 2.0, "eval/a/loss": 1.0, "eval/a/squad/em": 7.0, "eval/a/b/loss": 3.0}
    lines = eval_command.table({"a": 20, "a/b": 3}, results).splitlines()
    assert [line.split() for line in lines] == [
        ["all", "examples", "23"],
        ["loss", "2.000", *NATS],
        ["a", "examples", "20"],
        ["loss", "1.000", *NATS],
        ["squad/em", "7.000", "of", "100"],
        ["a/b", "examples", "3"],
        ["loss", "3.000", *NATS],
    ]
    assert len({line.find(".") for line in lines if "." in line}) == 1


@pytest.mark.parametrize("name", ["run/config.yaml", "run/corpus/manifest.json", "train.csv", "held_out.csv"])
def test_nothing_that_is_read_is_overwritten(name, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(eval_command, "load", cannot_be_loaded)
    for file in ("train.csv", "held_out.csv"):
        (tmp_path / file).write_text("q,a\n1,2\n")
    target = folder / name if name.startswith("run") else tmp_path / name
    before = target.read_bytes()
    train, held_out = str(tmp_path / "train.csv"), str(tmp_path / "held_out.csv")
    cfg = RunConfig(run_dir="x", task=TaskConfig(source=train, eval_source=held_out, inputs="{q}", targets="{a}"))
    with pytest.raises(ValueError, match=r"^--output .* is .*, which is read"):
        eval_command.run(cfg, str(folder / "run"), output=str(target))
    assert target.read_bytes() == before
