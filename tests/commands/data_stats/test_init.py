"""Tests t5x_lite/commands/data_stats/__init__.py: each number against one counted by hand."""

import dataclasses
import json

import numpy as np
import pytest

from t5x_lite.commands import data_stats
from t5x_lite.commands.data_stats.histogram import histogram
from t5x_lite.config import DataConfig, MixtureConfig, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.training.run_dir import RunDirectory

BYTES = TokenizerConfig(kind="bytes")
TRAIN = [("abcd", "xy"), ("é", "z"), ("abcdefghij", "uvwxyz1")]  # é has two bytes
HELD_OUT = [("abc", "q"), ("ab", "")]


def write_pairs(path, pairs, *more):
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in pairs]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return str(path)


@pytest.fixture
def pairs(tmp_path):
    """A task of three pairs and a bad record, one more pair held out and one that is left out."""
    return TaskConfig(
        source=write_pairs(tmp_path / "train.jsonl", TRAIN, '{"question": "no answer"}'),
        eval_source=write_pairs(tmp_path / "held_out.jsonl", HELD_OUT),
        inputs="{question}",
        targets="{answer}",
        bad_records="skip",
        tokenizer=BYTES,
    )


@pytest.fixture
def text(tmp_path):
    """A task of a hundred characters of text a document, eight documents held out of forty."""
    for name, count in {"train": 32, "held_out": 8}.items():
        lines = [json.dumps({"text": f"{name} {i:2d} ".ljust(100, "x")}) for i in range(count)]
        (tmp_path / f"{name}_text.jsonl").write_text("\n".join(lines))
    return TaskConfig(
        source=str(tmp_path / "train_text.jsonl"),
        eval_source=str(tmp_path / "held_out_text.jsonl"),
        min_characters=9,
        objective="causal_lm",
        tokenizer=BYTES,
    )


@pytest.fixture
def cfg(pairs, tmp_path):
    return RunConfig(
        run_dir=str(tmp_path / "run"),
        task=pairs,
        data=DataConfig(packing="best_fit"),
        train=TrainConfig(num_steps=6, batch_size=4, inputs_length=8, targets_length=6),
    )


@pytest.fixture
def measured(capsys):
    """Runs the command; returns its JSON object and what it said beside."""

    def run(cfg, **options):
        capsys.readouterr()
        data_stats.run(cfg, as_json=True, **options)
        printed = capsys.readouterr()
        return json.loads(printed.out), printed.err

    return run


def test_examples_characters_and_tokens_are_counted(cfg, measured):
    task = measured(cfg)[0]["tasks"]["task"]
    assert task["what"] == "pairs"
    train, held_out = task["train"], task["eval"]
    assert (train["num_examples"], train["num_characters"], train["num_tokens"]) == (3, 25, 26)
    assert (held_out["num_examples"], held_out["num_characters"], held_out["num_tokens"]) == (1, 4, 4)
    assert not train["num_characters_is_estimate"]
    assert train["characters_per_token"] == pytest.approx(25 / 26)
    assert train["bytes_per_token"] == pytest.approx(1.0)  # a token is a byte
    assert train["unknown_share"] == 0


def test_lengths_and_what_is_cut_are_told_by_side(cfg, measured):
    train = measured(cfg)[0]["tasks"]["task"]["train"]
    inputs, targets = train["lengths"]["inputs"], train["lengths"]["targets"]  # 5, 3, 11 and 3, 2, 8 with EOS
    assert [inputs["quantiles"][name] for name in ("min", "p50", "max")] == [3, 5, 11]
    assert [targets["quantiles"][name] for name in ("min", "p50", "max")] == [2, 3, 8]
    assert inputs["mean"] == pytest.approx(19 / 3)
    assert train["cut"] == {
        "inputs": {"limit": 8, "num_examples": 1, "num_tokens": 3},
        "targets": {"limit": 6, "num_examples": 1, "num_tokens": 2},
    }


def test_rows_padding_and_steps_are_those_of_the_packing(cfg, measured):
    found = measured(cfg)[0]
    task = found["tasks"]["task"]
    assert task["train"]["num_rows"] == found["num_rows"] == 2
    padding = task["train"]["padding"]
    assert {kind: made["num_rows"] for kind, made in padding.items()} == {"unpacked": 3, "first_fit": 2, "best_fit": 2}
    assert padding["unpacked"]["both"] == pytest.approx(1 - 27 / 42)
    assert padding["best_fit"]["both"] == pytest.approx(1 - 27 / 28)
    assert list(task["eval"]["padding"]) == ["unpacked"]
    assert task["eval"]["padding"]["unpacked"]["inputs"] == pytest.approx(1 - 4 / 8)
    assert task["eval"]["num_rows"] == 1
    assert found["num_steps_per_epoch"] == task["num_steps_per_epoch"] == 0.5
    assert task["num_epochs"] == 12
    unpacked = measured(dataclasses.replace(cfg, data=DataConfig()))[0]
    assert unpacked["num_rows"] == 3
    assert unpacked["num_steps_per_epoch"] == 0.75


def test_what_was_left_out_and_skipped_is_counted(cfg, measured):
    task = measured(cfg)[0]["tasks"]["task"]
    assert (task["num_short"], task["num_skipped"]) == (1, 1)
    assert "train.jsonl line 4 has no field" in task["first_skipped"]


def test_a_null_targets_length_is_read_as_the_one_recommended(cfg, measured):
    null = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, targets_length=None))
    found = measured(null)[0]
    task = found["tasks"]["task"]
    assert found["targets_length_is_recommended"]
    assert found["targets_length"] == task["targets_length"] == task["recommended_targets_length"]
    assert task["recommended_targets_length"] == task["recommended"]["targets_length"] == 8  # no target is longer
    assert not measured(cfg)[0]["targets_length_is_recommended"]


def test_a_quantile_is_a_fraction(cfg):
    for quantile in (0.0, 99.0, float("nan")):
        with pytest.raises(ValueError, match=r"^--quantile is .*: use a fraction above 0 and at most 1, such as 0.99"):
            data_stats.run(cfg, quantile=quantile)


def test_text_is_chunked_and_its_padding_is_measured(cfg, text, measured, tmp_path):
    train = TrainConfig(num_steps=100, batch_size=4, inputs_length=5, targets_length=11)
    found = measured(dataclasses.replace(cfg, task=text, train=train))[0]
    task = found["tasks"]["task"]
    assert (task["what"], task["objective"], task["chunk_lengths"]) == ("documents", "causal_lm", [10])
    assert (task["train"]["num_rows"], task["eval"]["num_rows"]) == (320, 80)
    assert task["train"]["lengths"]["documents"]["mean"] == 100
    assert task["train"]["cut"] == {}
    for side in ("train", "eval"):  # the encoder gets EOS alone
        measured_rows = task[side]["padding"]["batches"]
        assert (measured_rows["inputs"], measured_rows["targets"]) == (pytest.approx(4 / 5), 0.0)
        assert measured_rows["both"] == pytest.approx(1 - 12 / 16)
        assert measured_rows["num_rows"] == task[side]["num_rows"]
    assert (task["targets_lengths"], task["recommended_targets_length"]) == ([], None)
    assert task["num_epochs"] == pytest.approx(100 * 4 / 320)


def test_the_tasks_of_a_mixture_have_their_rates_and_steps(cfg, pairs, text, measured):
    tasks = {
        name: dataclasses.replace(member, tokenizer=TokenizerConfig())
        for name, member in {"questions": pairs, "text": text}.items()
    }
    mixture = TaskConfig(mixture=MixtureConfig(tasks=tasks, rates={"questions": 3, "text": 1}), tokenizer=BYTES)
    train = TrainConfig(num_steps=60, batch_size=4, inputs_length=8, targets_length=6)
    found = measured(dataclasses.replace(cfg, task=mixture, data=DataConfig(), train=train))[0]
    assert list(found["tasks"]) == ["questions", "text"]
    questions, text = found["tasks"].values()
    assert (questions["rate"], text["rate"]) == (0.75, 0.25)
    assert (questions["train"]["num_rows"], text["train"]["num_rows"]) == (3, 640)
    assert found["num_rows"] == 643
    assert found["num_steps_per_epoch"] == 643 / 4
    assert questions["num_steps_per_epoch"] == pytest.approx(3 / (482 / 643) / 4)  # 482.25 of the rows
    assert text["num_steps_per_epoch"] == pytest.approx(640 / (161 / 643) / 4)
    assert text["num_epochs"] == pytest.approx(60 / text["num_steps_per_epoch"])


def test_a_task_that_is_defined_in_python_is_measured(cfg, pairs, measured, tmp_path, monkeypatch):
    names = ("source", "eval_source", "inputs", "targets", "bad_records")
    given = ", ".join(f"{name}={getattr(pairs, name)!r}" for name in names)
    (tmp_path / "my_tasks.py").write_text(f"from t5x_lite.config import TaskConfig\nQUESTIONS = TaskConfig({given})\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = TaskConfig(base="my_tasks:QUESTIONS", tokenizer=BYTES)
    assert measured(dataclasses.replace(cfg, task=task))[0]["tasks"]["task"]["train"]["num_examples"] == 3


@pytest.mark.parametrize("task", ["pairs", "text"])
def test_the_picture_has_a_panel_a_task_and_goes_where_it_is_asked_to(cfg, task, measured, tmp_path, request):
    pytest.importorskip("matplotlib")
    cfg = dataclasses.replace(cfg, task=request.getfixturevalue(task))
    _, said = measured(cfg)
    assert f"Histogram of the lengths: {tmp_path / 'run' / 'lengths.svg'}" in said
    elsewhere = tmp_path / "new" / "x.svg"
    measured(cfg, output=str(elsewhere))
    assert elsewhere.read_text() == (tmp_path / "run" / "lengths.svg").read_text()
    panels = {
        "pairs": {"task: 3 pairs to learn from": {"inputs": np.array([5, 3, 11]), "targets": np.array([3, 2, 8])}},
        "text": {"task: 32 documents to learn from": {"documents": np.full(32, 100)}},
    }
    inputs, targets = ("train.inputs_length 8", 8), ("train.targets_length 6", 6)
    limits = {"documents": inputs, "inputs": inputs, "targets": targets}
    assert elsewhere.read_text() == histogram(panels[task], limits)


def test_without_matplotlib_only_the_picture_is_missing_and_output_is_an_error(cfg, measured, tmp_path, monkeypatch):
    monkeypatch.setattr(data_stats, "can_draw", lambda: False)
    with pytest.raises(ValueError, match=r"--output .*x.svg needs matplotlib: run pip install 't5x-lite\[plot\]'"):
        measured(cfg, output=str(tmp_path / "x.svg"))
    assert not (tmp_path / "run").exists()
    found, said = measured(cfg)
    assert found["tasks"]["task"]["train"]["num_examples"] == 3
    assert said.splitlines()[-1].endswith("not drawn: matplotlib is not installed (pip install 't5x-lite[plot]')")
    assert not (tmp_path / "run" / "lengths.svg").exists()


@pytest.mark.parametrize("name", ["lengths.png", "lengths", ""])
def test_a_picture_of_another_kind_is_refused_before_any_work(cfg, tmp_path, name):
    with pytest.raises(ValueError, match=r"--output is .*: name a file that ends in .svg"):
        data_stats.run(cfg, output=str(tmp_path / name) if name else "")
    assert not (tmp_path / "run").exists()


def test_the_stages_are_timed_when_the_text_is_made_and_not_again(cfg, measured):
    first, said = measured(cfg)
    assert "Tokenised 4 pairs" in said
    making = first["tasks"]["task"]["making"]
    assert all(making[stage] >= 0 for stage in ("opening_source_s", "reading_s", "tokenising_s"))
    assert making["reading_s"] + making["tokenising_s"] > 0  # reading is an estimate, and can take all of it
    assert first["vocabulary_s"] >= 0
    with RunDirectory(cfg.run_dir):  # as a training has it
        again, said = measured(cfg)
    assert "Tokenised" not in said
    assert again["tasks"]["task"]["making"] is None
    assert again["vocabulary_s"] is None
    assert again["checking_s"] > 0


def test_a_task_that_is_prepared_elsewhere_says_where_it_came_from(cfg, pairs, measured, tmp_path):
    before = measured(cfg)[0]["tasks"]["task"]
    made = tmp_path / "made"
    (tmp_path / "run" / "corpus").rename(made)
    (tmp_path / "run" / "vocabulary.json").rename(made / "vocabulary.json")
    prepared = TaskConfig(prepared=str(made), inputs=pairs.inputs, targets=pairs.targets)
    after = measured(dataclasses.replace(cfg, run_dir=str(tmp_path / "other"), task=prepared))[0]["tasks"]["task"]
    assert after["source"] == f"{pairs.source} and {pairs.eval_source}"
    assert (after["train"], after["eval"], after["num_skipped"]) == (before["train"], before["eval"], 1)
    assert after["making"] is None


def test_the_text_is_not_written_over(cfg, tmp_path, monkeypatch):
    monkeypatch.setattr(data_stats, "can_draw", lambda: True)
    (tmp_path / "mine.jsonl").write_text('{"text": "mine"}\n')
    (tmp_path / "x.svg").hardlink_to(tmp_path / "mine.jsonl")
    cfg = dataclasses.replace(cfg, task=TaskConfig(source=str(tmp_path / "mine.jsonl")))
    with pytest.raises(ValueError, match=r"--output .*x.svg is .*mine.jsonl, which is read: name another file"):
        data_stats.run(cfg, output=str(tmp_path / "x.svg"))
    assert (tmp_path / "x.svg").read_text() == '{"text": "mine"}\n'
