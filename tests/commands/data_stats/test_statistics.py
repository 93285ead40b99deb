"""Tests t5x_lite/commands/data_stats/statistics.py"""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from t5x_lite.commands.data_stats import statistics
from t5x_lite.commands.data_stats.lengths import Padding, Recommended
from t5x_lite.commands.data_stats.statistics import (
    decoded_sample,
    held_out_padding,
    measure,
    measure_batches,
    num_characters_of,
    num_examples_of,
    padding_of,
    with_targets_length,
)
from t5x_lite.commands.data_stats.timing import Timings
from t5x_lite.config import DataConfig, MixtureConfig, ModelOptions, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.data.corpus.open import Split
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.training.resolve import resolve_run
from tests.tokens import ArrayTokens

BYTES = TokenizerConfig(kind="bytes")


def part(num_characters, **num_tokens):
    return {
        "num_characters": num_characters,
        "splits": {split: {"num_tokens": count} for split, count in num_tokens.items()},
    }


def split_of(ids):
    return Split(ArrayTokens(np.asarray(ids)), np.array([[len(ids)]]))


def write(path: pathlib.Path, rows) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def pair_task(path, num_pairs=12):
    """Inputs of 3 ids and targets of 7: with EOS, 4 and 8."""
    rows = [{"q": f"{i:03d}", "a": f"{i:07d}"} for i in range(num_pairs)]
    return TaskConfig(
        source=write(path / "pairs.jsonl", rows),
        eval_source=write(path / "more_pairs.jsonl", rows[:2]),
        inputs="{q}",
        targets="{a}",
        tokenizer=BYTES,
    )


def text_task(path, **options):
    rows = [{"text": f"document number {i:04d} " + "has some words in it " * 4} for i in range(60)]
    return TaskConfig(
        source=write(path / "text.jsonl", rows), eval_percent=30, min_characters=9, tokenizer=BYTES, **options
    )


def measured(task, tmp_path, **train):
    cfg = RunConfig(run_dir=str(tmp_path / "run"), task=task, train=TrainConfig(**{"batch_size": 4} | train))
    run = resolve_run(cfg)
    corpora = prepare_corpora(run.tasks, tmp_path / "run")
    return measure(run, corpora, Timings(None, {}, 0.5)), corpora


def test_characters_of_sides_that_were_counted_apart_are_exact():
    manifest = {"parts": [part(70, train=20), part(50, train=10), part(30, eval=9)]}
    assert num_characters_of(manifest, "train") == (120, True)
    assert num_characters_of(manifest, "eval") == (30, True)


def test_characters_of_a_divided_source_are_divided_as_the_tokens_are():
    manifest = {"parts": [part(100, train=30, eval=10), part(60, train=20, eval=0)]}
    assert num_characters_of(manifest, "train") == (75 + 60, False)
    assert num_characters_of(manifest, "eval") == (25, False)


def test_bytes_and_unknown_tokens_are_those_of_the_text():
    ids = ByteTokenizer().encode("aé€")  # 1, 2 and 3 bytes
    assert decoded_sample(split_of(ids), ByteTokenizer()) == (pytest.approx(6 / 3), 0.0)
    assert decoded_sample(split_of([*ids, 2, 2]), ByteTokenizer())[1] == pytest.approx(2 / 8)


def test_a_sample_is_spread_over_all_of_a_long_text(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLED_STRETCHES", 3)
    monkeypatch.setattr(statistics, "STRETCH_LENGTH", 10)
    ids = np.full(101, 100)
    ids[[0, 9, 50, 100]] = 2  # in the first stretch, the middle one and the last
    ids[20:40] = 2  # between them
    assert decoded_sample(split_of(ids), ByteTokenizer())[1] == pytest.approx(4 / 30)


def test_a_text_of_nothing_has_no_sample():
    assert decoded_sample(split_of([]), ByteTokenizer()) == (0.0, 0.0)


def test_the_sides_of_a_divided_text_add_up(tmp_path):
    found, _ = measured(text_task(tmp_path, objective="span_corruption"), tmp_path, inputs_length=32)
    task = found.tasks["task"]
    length = len("document number 0000 " + "has some words in it " * 4)
    assert task.train.num_characters + task.eval.num_characters == pytest.approx(60 * length, abs=1)
    assert task.train.num_characters_is_estimate
    assert task.train.num_examples + task.eval.num_examples == 60
    assert task.train.characters_per_token == pytest.approx(1.0, abs=0.01)


def test_each_denoiser_of_a_mixture_of_objectives_has_its_chunks(tmp_path):
    found, corpora = measured(text_task(tmp_path, objective="ul2"), tmp_path, inputs_length=64)
    task = found.tasks["task"]
    assert len(task.chunk_lengths) == 7
    rows = sum(-(-len(corpora[""].train.tokens) // length) for length in task.chunk_lengths)
    assert task.train.num_rows == rows
    assert task.num_steps_per_epoch == rows / 4


def test_rows_of_text_are_those_of_an_epoch_and_not_the_few_that_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("t5x_lite.commands.data_stats.statistics.MEASURED_ROWS", 8)
    found, _ = measured(text_task(tmp_path), tmp_path, inputs_length=32)
    task = found.tasks["task"]
    assert task.batches.padding.num_rows == 8
    for side in (task.train, task.eval):
        assert side.padding["batches"].num_rows == side.num_rows > 8


def test_a_null_targets_length_of_text_stays_what_the_objective_yields(tmp_path):
    found, _ = measured(text_task(tmp_path), tmp_path, inputs_length=40)
    assert found.targets_length is None
    assert not found.targets_length_is_recommended
    assert found.tasks["task"].targets_length == 10  # T5's formula for 40


def test_a_null_targets_length_is_the_longest_that_a_task_of_a_mixture_asks_for(tmp_path):
    def mixture(**tasks):
        tasks = {name: dataclasses.replace(task, tokenizer=TokenizerConfig()) for name, task in tasks.items()}
        return TaskConfig(mixture=MixtureConfig(tasks=tasks), tokenizer=BYTES)

    pairs, text = pair_task(tmp_path), text_task(tmp_path, objective="causal_lm")
    found, _ = measured(mixture(pairs=pairs, text=text), tmp_path / "long", inputs_length=48)
    assert found.tasks["pairs"].recommended_targets_length == 8
    assert (found.targets_length, found.targets_length_is_recommended) == (48, True)  # causal_lm's
    assert found.tasks["text"].recommended_targets_length is None

    advice = {"pairs": Recommended(0.99, 16, 64, {}, {}, "none"), "labels": Recommended(0.99, 16, None, {}, {}, None)}
    task, directory = mixture(pairs=pairs, text=text), tmp_path / "short"
    run = resolve_run(RunConfig(run_dir=str(directory), task=task, train=TrainConfig(inputs_length=48)))
    corpora = prepare_corpora(run.tasks, directory)
    assert with_targets_length(run.examples, corpora, advice).targets_length == 64
    given = dataclasses.replace(run.examples, targets_length=7)
    assert with_targets_length(given, corpora, advice) == given


def test_the_packing_of_the_run_is_counted_and_not_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("t5x_lite.commands.data_stats.lengths.PACKED_PAIRS", 1)  # a sample of one is a row of one
    task = pair_task(tmp_path)
    cfg = RunConfig(
        run_dir=str(tmp_path / "run"), task=task, train=TrainConfig(batch_size=4, inputs_length=8, targets_length=16)
    )
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, packing="first_fit"))
    run = resolve_run(cfg)
    found = measure(run, prepare_corpora(run.tasks, tmp_path / "run"), Timings(None, {}, 0.5)).tasks["task"]
    assert found.train.padding["first_fit"] == Padding(6, 0.0, 0.0, 0.0)  # two a row
    assert found.train.padding["best_fit"].num_rows == 12


def test_a_task_that_is_called_task_is_told_from_a_single_one(tmp_path):
    members = {"task": dataclasses.replace(pair_task(tmp_path), tokenizer=TokenizerConfig())}
    members["text"] = dataclasses.replace(text_task(tmp_path), tokenizer=TokenizerConfig())
    task = TaskConfig(mixture=MixtureConfig(tasks=members), tokenizer=BYTES)
    found, _ = measured(task, tmp_path, inputs_length=24, targets_length=20)
    assert found.batches.padding.num_rows > found.tasks["task"].batches.padding.num_rows


def test_a_classifiers_targets_are_as_long_as_they_are(tmp_path):
    rows = [{"q": f"{i:03d}", "a": ("even", "odd")[i % 2]} for i in range(40)]
    path = write(tmp_path / "pairs.jsonl", rows)
    labelled = {"inputs": "{q}", "targets": "{a}", "labels": ("even", "odd")}
    task = TaskConfig(source=path, eval_source=path, tokenizer=BYTES, **labelled)
    cfg = RunConfig(
        run_dir=str(tmp_path / "run"),
        task=task,
        model=ModelOptions(architecture="sequence_classifier"),
        train=TrainConfig(batch_size=4, inputs_length=16),
    )
    run = resolve_run(cfg)
    found = measure(run, prepare_corpora(run.tasks, tmp_path / "run"), Timings(None, {}, 0.0))
    assert (found.targets_length, found.targets_length_is_recommended, found.num_rows) == (None, False, 40)


def make_pairs(num_pairs, inputs_length=7, targets_length=5):
    """Pairs of two and one ids, so three and two with EOS."""
    ends_E2 = np.arange(num_pairs)[:, None] * 3 + np.array([2, 3])
    return Pairs(ArrayTokens(np.full(num_pairs * 3, 9)), ends_E2, inputs_length, targets_length)


def test_padding_is_counted_over_all_batches():
    first = {"encoder_input_tokens": np.array([[5, 1, 0]]), "decoder_target_tokens": np.array([[1, 0]])}
    second = {"encoder_input_tokens": np.array([[5, 6, 1]]), "decoder_target_tokens": np.array([[4, 1]])}
    found = padding_of([first, second], 0)
    assert found.num_rows == 2
    assert (found.inputs, found.targets, found.both) == pytest.approx((1 / 6, 1 / 4, 2 / 10))


def test_packed_examples_are_counted_each():
    batch = {
        "encoder_input_tokens": np.ones((2, 4)),
        "encoder_segment_ids": np.array([[1, 2, 2, 3], [1, 1, 0, 0]]),
    }
    assert num_examples_of(batch) == 4
    del batch["encoder_segment_ids"]
    assert num_examples_of(batch) == 2


def test_speeds_are_what_the_batches_hold_by_the_time_they_take():
    found = measure_batches(make_pairs(11), 4, DataConfig())
    assert found.num_batches == 3
    assert found.padding.num_rows == 12
    assert found.examples_per_second * found.seconds == pytest.approx(12)
    assert found.tokens_per_second * found.seconds == pytest.approx(12 * 5)
    assert (found.padding.inputs, found.padding.targets) == pytest.approx((4 / 7, 3 / 5))


def test_examples_of_packed_rows_count_in_the_speed():
    packed = PackedPairs(make_pairs(12), "first_fit")  # two a row
    found = measure_batches(packed, 3, DataConfig())
    assert found.num_batches == 2
    assert found.examples_per_second * found.seconds == pytest.approx(12)


def test_no_more_batches_are_made_than_the_measure_needs(monkeypatch):
    monkeypatch.setattr(statistics, "MEASURED_ROWS", 10)
    assert measure_batches(make_pairs(500), 4, DataConfig()).num_batches == 3
    assert measure_batches(make_pairs(500), 64, DataConfig()).num_batches == 1
    assert held_out_padding(make_pairs(500), 4).num_rows == 8


@pytest.mark.parametrize(("num_pairs", "num_rows"), [(3, 3), (11, 8)])
def test_held_out_rows_are_never_filled_up(num_pairs, num_rows):
    found = held_out_padding(make_pairs(num_pairs), 4)
    assert (found.num_rows, found.inputs) == (num_rows, pytest.approx(4 / 7))
