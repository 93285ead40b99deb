"""Tests t5x_lite/data/dataset.py"""

import dataclasses
import json

import numpy as np
import pytest

from t5x_lite.config import DataConfig, MixtureConfig, ModelOptions, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.data import dataset
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import ExampleSpec
from t5x_lite.data.examples import unpacked
from t5x_lite.data.mixing import Mixed
from t5x_lite.data.objectives.language_modeling import PrefixLM
from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from t5x_lite.data.task_specs import resolve_tasks

S = 32


def make_examples(cfg, corpora):
    return dataset.make_examples(ExampleSpec.from_config(cfg, resolve_tasks(cfg.task)), corpora)


def make_corpora(tmp_path, **task):
    rows = [{"q": "x" * i, "a": "y" * (i % 7 + 1)} for i in range(1, 40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenizer = TokenizerConfig(kind="bytes")
    task = TaskConfig(source=str(tmp_path / "a.jsonl"), tokenizer=tokenizer, eval_percent=20.0, **task)
    return task, prepare_corpora(resolve_tasks(task), tmp_path / "run")


def test_a_supervised_task_is_made_of_pairs_of_the_lengths_asked_for(tmp_path):
    task, corpora = make_corpora(tmp_path, inputs="{q}", targets="{a}")
    cfg = RunConfig(run_dir="unused", seed=5, task=task, train=TrainConfig(inputs_length=9, targets_length=6))
    train, held_out, *_ = make_examples(cfg, corpora)
    assert len(train) + len(held_out[""]) == 39
    assert train.seed == 5
    batch = held_out[""](np.arange(2), np.arange(2))
    assert (batch["inputs"].shape, batch["targets"].shape) == ((2, 9), (2, 6))


def test_a_supervised_task_needs_the_length_of_its_targets(tmp_path):
    task, corpora = make_corpora(tmp_path, inputs="{q}", targets="{a}")
    cfg = RunConfig(run_dir="unused", task=task, train=TrainConfig(inputs_length=9))
    with pytest.raises(ValueError, match=r"train.targets_length is null.* the longest targets have 8 tokens"):
        make_examples(cfg, corpora)


def test_text_is_made_into_what_the_objective_of_the_task_asks_for(tmp_path):
    task, corpora = make_corpora(tmp_path, text="{q}" * 4, min_characters=0, objective="prefix_lm")
    cfg = RunConfig(run_dir="unused", seed=5, task=task, train=TrainConfig(inputs_length=11))
    train, held_out, *_ = make_examples(cfg, corpora)
    assert [type(chunks.objective) for chunks in (train, held_out[""])] == [PrefixLM, PrefixLM]
    assert train(np.arange(2), np.arange(2))["targets"].shape == (2, 10)


def test_text_is_made_of_chunks_whose_held_out_ones_do_not_depend_on_the_seed(tmp_path):
    task, corpora = make_corpora(tmp_path, text="{q}" * 4, min_characters=0)
    made = []
    for seed in (5, 6):
        cfg = RunConfig(run_dir="unused", seed=seed, task=task, train=TrainConfig(inputs_length=S))
        made.append(make_examples(cfg, corpora))
    (train, held_out, *_), (other_train, other_held_out, *_) = made
    assert (train.seed, other_train.seed) == (5, 6)
    number_B = np.arange(3)
    np.testing.assert_array_equal(
        held_out[""](number_B, number_B)["targets"], other_held_out[""](number_B, number_B)["targets"]
    )


def test_packing_is_asked_for_in_the_config(tmp_path):
    task, corpora = make_corpora(tmp_path, inputs="{q}", targets="{a}")
    cfg = RunConfig(
        run_dir="unused",
        task=task,
        data=DataConfig(packing="best_fit"),
        train=TrainConfig(inputs_length=50, targets_length=30),
    )
    train, held_out, *_ = make_examples(cfg, corpora)
    assert isinstance(train, PackedPairs)
    assert isinstance(held_out[""], Pairs)
    batch = train(np.arange(len(train)), np.arange(len(train)))
    assert batch["targets_segment_ids"].max(axis=1).sum() == corpora[""].train.num_documents


def config_of_decoder(architecture, task, packing="first_fit", **fields):
    return RunConfig(
        run_dir="unused",
        task=task,
        data=DataConfig(packing=packing),
        model=ModelOptions(architecture=architecture),
        train=TrainConfig(inputs_length=50, targets_length=12),
        **fields,
    )


@pytest.mark.parametrize("architecture", ["prefix_lm", "causal_lm"])
@pytest.mark.parametrize("packing", ["first_fit", "best_fit"])
def test_the_pairs_of_a_decoder_are_packed_as_one_sequence_each(tmp_path, architecture, packing):
    task, corpora = make_corpora(tmp_path, inputs="{q}", targets="{a}")
    cfg = config_of_decoder(architecture, task, packing)
    train, held_out, _, convert = make_examples(cfg, corpora)
    features = convert(train(np.arange(len(train)), np.arange(len(train))))
    tokens = features["decoder_target_tokens"]
    assert tokens.shape == (len(train), 62)
    assert convert(held_out[""](np.arange(2), np.arange(2)))["decoder_target_tokens"].shape == (2, 62)
    num_pairs = corpora[""].train.num_documents
    assert (tokens == 1).sum() == 2 * num_pairs  # one after the inputs, one after the targets
    assert features["decoder_segment_ids"].max(axis=1).sum() == num_pairs
    assert (tokens > 1).sum() == len(corpora[""].train.tokens)
    old = dataclasses.replace(cfg, revision=1)
    older = make_examples(old, corpora)
    assert len(older.train) > len(train)
    found = older.convert(older.train(np.arange(len(older.train)), np.arange(len(older.train))))
    assert (found["decoder_target_tokens"] == 1).sum() == num_pairs  # the EOS of the targets alone


def test_packed_pairs_and_text_of_a_decoder_are_mixed_in_rows_of_one_length(tmp_path):
    task, _ = make_corpora(tmp_path, text="{q}", min_characters=0)
    pairs = dataclasses.replace(task, text="{text}", inputs="{q}", targets="{a}", tokenizer=TokenizerConfig())
    text = dataclasses.replace(task, text="{q}" * 3, objective="prefix_lm", tokenizer=TokenizerConfig())
    mixture = MixtureConfig(tasks={"pairs": pairs, "text": text}, rates={"pairs": 1, "text": 1})
    mixed = TaskConfig(mixture=mixture, tokenizer=task.tokenizer)
    corpora = prepare_corpora(resolve_tasks(mixed), tmp_path / "mixed")
    train, *_, convert = make_examples(config_of_decoder("prefix_lm", mixed), corpora)
    features = convert(train(np.arange(len(train)), np.arange(len(train))))
    assert {ids.shape for ids in features.values()} == {(len(train), 62)}
    assert features["decoder_segment_ids"].max() > 1
    assert (features["decoder_loss_weights"].sum(axis=1) > 0).all()


def test_leftover_tokens_are_kept_unless_the_run_is_older(tmp_path):
    task, corpora = make_corpora(tmp_path, text="{q}" * 4, min_characters=0)
    cfg = RunConfig(run_dir="unused", task=task, train=TrainConfig(inputs_length=S))
    for revision, rounded in ((None, -1), (2, -1), (1, 1)):
        train, held_out, *_ = make_examples(dataclasses.replace(cfg, revision=revision), corpora)
        for examples, split in ((train, corpora[""].train), (held_out[""], corpora[""].eval)):
            assert len(split.tokens) % examples.objective.chunk_length
            assert len(examples) == rounded * (rounded * len(split.tokens) // examples.objective.chunk_length)


def test_ul2_is_a_mixture_of_its_denoisers(tmp_path):
    task, corpora = make_corpora(tmp_path, text="{q}" * 30, min_characters=0, objective="ul2")
    cfg = RunConfig(run_dir="unused", task=task, train=TrainConfig(inputs_length=128))
    train, held_out, *_ = make_examples(cfg, corpora)
    assert isinstance(train, Mixed)
    assert isinstance(held_out[""], Mixed)
    assert len(train.members) == 7
    batch = train(np.arange(len(train)), np.arange(len(train)))
    tokenizer = corpora[""].tokenizer
    modes = {tokenizer.decode(row[:5]) for row in batch["inputs"]}
    assert modes == {"[NLU]", "[S2S]", "[NLG]"}


def test_a_mixture_has_the_rates_asked_for_in_examples_not_rows(tmp_path):
    task, _ = make_corpora(tmp_path, text="{q}", min_characters=0)
    pairs = dataclasses.replace(task, text="{text}", inputs="{q}", targets="{a}", tokenizer=TokenizerConfig())
    text = dataclasses.replace(task, text="{q}" * 30, min_characters=0, tokenizer=TokenizerConfig())
    mixture = MixtureConfig(tasks={"pairs": pairs, "text": text}, rates={"pairs": 3, "text": 1})
    mixed = TaskConfig(mixture=mixture, tokenizer=task.tokenizer)
    cfg = RunConfig(
        run_dir="unused",
        task=mixed,
        data=DataConfig(packing="best_fit"),
        train=TrainConfig(inputs_length=64, targets_length=32),
    )
    train, held_out, tasks, _ = make_examples(cfg, prepare_corpora(resolve_tasks(mixed), tmp_path / "mixed"))
    assert list(held_out) == list(tasks) == ["pairs", "text"]
    per_row = len(unpacked(tasks["pairs"])) / len(tasks["pairs"])
    assert per_row > 1.5
    rows = train.count_M
    assert rows[0] * per_row / rows[1] == pytest.approx(3, rel=0.1)


def too_long(tmp_path, choice, **lengths):
    task, corpora = make_corpora(tmp_path, inputs="{q}", targets="{a}")
    train = TrainConfig(**{"inputs_length": 30, "targets_length": 6} | lengths)
    return RunConfig(run_dir="unused", task=task, data=DataConfig(too_long=choice), train=train), corpora


def test_a_pair_that_is_too_long_is_cut_or_left_out_of_training(tmp_path):
    cfg, corpora = too_long(tmp_path, "cut")
    cut, held_out, _, _ = make_examples(cfg, corpora)
    skipped, same_held_out, _, _ = make_examples(*too_long(tmp_path, "skip"))
    fit = (cut.lengths() <= (30, 6)).all(axis=1)
    assert 0 < len(skipped) == fit.sum() < len(cut)
    assert (skipped.lengths() <= (30, 6)).all()
    numbers = np.arange(len(skipped))
    for name, ids in skipped(numbers, numbers).items():
        np.testing.assert_array_equal(ids, cut(np.flatnonzero(fit), numbers)[name])
    assert len(held_out[""]) == len(same_held_out[""])


def test_a_pair_that_is_too_long_ends_the_run_where_asked(tmp_path):
    message = r"pairs are too long: the first has (targets of [78]|inputs of 3\d) tokens, .* inputs begin with 'x+'"
    with pytest.raises(ValueError, match=message + ": raise it, or set data.too_long to cut or skip"):
        make_examples(*too_long(tmp_path, "error"))
    make_examples(*too_long(tmp_path, "error", inputs_length=41, targets_length=8))


def test_no_pair_left_to_learn_from_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"every pair is longer than train.inputs_length 1 or train.targets_length 6"):
        make_examples(*too_long(tmp_path, "skip", inputs_length=1))
