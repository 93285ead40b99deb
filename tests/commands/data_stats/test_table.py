"""Tests t5x_lite/commands/data_stats/table.py with the statistics of small tasks."""

import dataclasses
import json

import pytest

from t5x_lite.commands.data_stats.lengths import PACKED_PAIRS
from t5x_lite.commands.data_stats.statistics import measure
from t5x_lite.commands.data_stats.table import print_tables
from t5x_lite.commands.data_stats.timing import Making, prepare_timed
from t5x_lite.config import DataConfig, MixtureConfig, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.training.resolve import resolve_run

BYTES = TokenizerConfig(kind="bytes")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Statistics of three pairs, one more held out; of forty documents of text; and of a mixture of both."""
    path = tmp_path_factory.mktemp("tasks")
    rows = {
        "train": [{"q": "abcd", "a": "xy"}, {"q": "e", "a": "z"}, {"q": "abcdefghij", "a": "uvwxyz1"}],
        "held_out": [{"q": "abc", "a": "q"}],
        "text": [{"text": f"{i:2d} ".ljust(100, "x")} for i in range(40)],
    }
    for name, records in rows.items():
        (path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    pairs = TaskConfig(
        source=str(path / "train.jsonl"), eval_source=str(path / "held_out.jsonl"), inputs="{q}", targets="{a}"
    )
    text = TaskConfig(source=str(path / "text.jsonl"), eval_percent=30, min_characters=9, objective="causal_lm")
    mixture = TaskConfig(mixture=MixtureConfig(tasks={"first": pairs, "second": text}, rates={"first": 3, "second": 1}))
    train = TrainConfig(num_steps=6, batch_size=4, inputs_length=8, targets_length=6)
    statistics = {}
    for name, task in {"pairs": pairs, "text": text, "mixture": mixture}.items():
        task = dataclasses.replace(task, tokenizer=BYTES)
        cfg = RunConfig(run_dir=str(path / name), task=task, data=DataConfig(packing="best_fit"), train=train)
        run = resolve_run(cfg)
        statistics[name] = measure(run, *prepare_timed(run))
    return statistics


@pytest.fixture
def printed(made, capsys):
    """Prints statistics, with changes to the task; returns the lines, with single spaces."""

    def run(name, **changes):
        statistics = made[name]
        if changes:
            task = dataclasses.replace(statistics.tasks["task"], **changes)
            statistics = dataclasses.replace(statistics, tasks={"task": task})
        capsys.readouterr()
        print_tables(statistics)
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return run


def test_each_number_is_printed_next_to_its_name(printed):
    lines = printed("pairs")
    assert lines[0].startswith("== task: ")
    assert lines[0].endswith("held_out.jsonl")
    for line in (
        "pairs 3 1",
        "characters 25 4",
        "bytes per token 1.00 1.00",
        "rows per epoch 2 1",
        "tokens min 5% 25% 50% 75% 95% 99% max mean",
        "train inputs 2 2 2 5 11 11 11 11 6",
        "truncated longer than examples of them tokens lost",
        "train targets 6 1 33.3% 2",
        "padding at 8 + 6 rows of inputs of targets of both",
        "train best_fit 2 6.2% 8.3% 7.1%",
        "padding at 16 + 8 rows of inputs of targets of both",
    ):
        assert line in lines


def test_remarks_explain_the_numbers(printed):
    text = "\n".join(printed("pairs", making=Making(0.25, 1.5, 2.75)))
    assert "Recommended for 99% of the examples: train.inputs_length 16 and train.targets_length 8, which cut" in text
    assert "which cut 0 inputs (0.0%) and 0 targets (0.0%)." in text
    assert "The lengths of this run, 8 + 6, cut 1 input (33.3%) and 1 target (33.3%)." in text
    assert "in 0.5 steps of 4 rows, and 12.0 times in train.num_steps 6" in text
    assert "opening the source 0.25 s, reading it 1.50 s (estimated), tokenising and writing 2.75 s" in text
    assert "tokens per second in one process, over 1" in text
    for absent in ("Left out", "Skipped", "Rate", "null", "All tasks", "Packings"):
        assert absent not in text


def test_omitted_records_are_reported(printed):
    text = "\n".join(printed("pairs", num_short=1_300, num_skipped=2, first_skipped="a.csv line 3 is broken"))
    assert "Left out: 1,300 pairs with empty inputs or targets." in text
    assert "Skipped: 2 bad records or files. The first: a.csv line 3 is broken" in text


def test_text_has_chunks_and_neither_truncation_nor_recommendations(printed):
    text = "\n".join(printed("text", num_short=5))
    assert "causal_lm: the text is one stream, divided into chunks of 5 tokens" in text
    assert "train documents 100 100 100 100 100 100 100 100 100" in text
    assert "characters about " in text
    assert "Left out: 5 documents shorter than task.min_characters." in text
    assert "truncated longer" not in text
    assert "best_fit" not in text
    assert "chunks of 900 to 1,200 tokens" in "\n".join(printed("text", chunk_lengths=[1_200, 900, 1_000]))


def test_a_packing_measured_on_a_sample_is_pointed_out(printed, made):
    side = dataclasses.replace(made["pairs"].tasks["task"].train, num_examples=PACKED_PAIRS + 1)
    note = f"and those at the recommended lengths, were measured on {PACKED_PAIRS:,} pairs."
    assert note in "\n".join(printed("pairs", train=side))


def test_text_prepared_before_has_no_times(printed):
    text = "\n".join(printed("pairs", making=None))
    assert "Time: the text was prepared before" in text
    assert "opening the source" not in text


def test_the_tasks_of_a_mixture_are_printed_separately_and_together(printed):
    lines = printed("mixture")
    assert [line.split(":")[0] for line in lines if line.startswith("==")] == ["== first", "== second"]
    assert "Rate: 75.0% of the examples of the mixture." in lines
    assert "Rate: 25.0% of the examples of the mixture." in lines
    (together,) = [line for line in lines if line.startswith("All tasks together")]
    assert "rows per epoch" in together
    assert "% padding" in together
    assert lines[-1].startswith("Time: the vocabulary ")


def test_a_recommended_length_that_is_used_is_pointed_out(made, capsys):
    print_tables(dataclasses.replace(made["pairs"], targets_length=64, targets_length_is_recommended=True))
    text = capsys.readouterr().out
    assert "train.targets_length is null, but a task with targets needs one: the numbers above are for 64" in text


def test_names_in_brackets_are_printed_unchanged(printed):
    assert "== task: folder/[bold]x*.csv" in printed("pairs", source="folder/[bold]x*.csv")


def test_wide_numbers_are_not_shortened(printed, made):
    train = made["pairs"].tasks["task"].train
    wide = dataclasses.replace(
        train.lengths["inputs"], mean=1e7, quantiles=dict.fromkeys(train.lengths["inputs"].quantiles, 10_000_000)
    )
    side = dataclasses.replace(train, lengths={"documents": wide})
    assert "train documents" + " 10,000,000" * 9 in printed("pairs", train=side)
