"""Tests t5x_lite/data/objectives/__init__.py: what every objective promises."""

import dataclasses
import pickle
import typing

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives import OBJECTIVES, Objective, make_objectives
from t5x_lite.data.objectives.language_modeling import CausalLM
from t5x_lite.data.objectives.span_corruption import SpanCorruption, noise_counts
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.data.objectives.reconstruction import without_padding

NAMES = typing.get_args(typing.get_type_hints(TaskConfig)["objective"])
TOKENIZER = ByteTokenizer(100)


def make(name, seed=5, inputs_length=512, targets_length=None):
    task = TaskConfig(objective=name)
    return make_objectives(task, TOKENIZER, inputs_length=inputs_length, targets_length=targets_length, seed=seed)


def chunks(objective, num_rows, seed=0):
    return np.random.default_rng(seed).integers(3, 150, (num_rows, objective.chunk_length)).astype(np.uint16)


def assert_same(batch, other):
    assert batch.keys() == other.keys()
    for name in batch:
        np.testing.assert_array_equal(batch[name], other[name])


def test_every_name_in_the_config_is_an_objective():
    assert set(NAMES) == set(OBJECTIVES)
    made = {name: make(name, inputs_length=100) for name in NAMES}
    assert len(made.pop("ul2")) == 7
    for ((rate, objective),) in made.values():
        assert rate == 1
        assert isinstance(objective, Objective)
    assert len({type(objective) for ((_, objective),) in made.values()}) == len(made)


@pytest.mark.parametrize("name", NAMES)
def test_rates_add_up_to_one_and_lengths_are_shared(name):
    objectives = make(name, inputs_length=100)
    assert sum(rate for rate, _ in objectives) == pytest.approx(1)
    assert len({(o.inputs_length, o.targets_length, o.seed) for _, o in objectives}) == 1
    assert objectives[0][1].inputs_length == 100
    assert objectives[0][1].seed == 5


@pytest.mark.parametrize("name", NAMES)
@hypothesis.settings(max_examples=15, derandomize=True)
@hypothesis.given(
    inputs_length=st.integers(9, 90),
    extra=st.integers(0, 5),
    num_rows=st.integers(1, 6),
    seed=st.integers(0, 2**31 - 1),
    index=st.integers(0, 2**48),
)
def test_rows_have_their_lengths_end_in_eos_and_depend_on_nothing_but_their_index(
    name, inputs_length, extra, num_rows, seed, index
):
    targets_length = make(name, inputs_length=inputs_length)[0][1].targets_length
    if name != "masked_lm":
        targets_length += extra
    for _, objective in make(name, seed, inputs_length=inputs_length, targets_length=targets_length):
        tokens_BL, index_B = chunks(objective, num_rows, seed), index + 3 * np.arange(num_rows)
        before = tokens_BL.copy()
        batch = objective(tokens_BL, index_B)
        np.testing.assert_array_equal(tokens_BL, before)
        assert {rows.dtype for rows in batch.values()} == {np.dtype(np.int32)}
        assert batch["inputs"].shape == (num_rows, inputs_length)
        assert {rows.shape for side, rows in batch.items() if side != "inputs"} == {(num_rows, targets_length)}
        for row in (*batch["inputs"], *batch["targets"]):
            without_padding(row)
        assert_same(objective(tokens_BL[::-1], index_B[::-1]), {side: rows[::-1] for side, rows in batch.items()})
        for b in range(num_rows):
            alone = objective(tokens_BL[b : b + 1], index_B[b : b + 1])
            assert_same(alone, {side: rows[b : b + 1] for side, rows in batch.items()})


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_over_fits_into_the_rows_whatever_its_length(name):
    for inputs_length in (9, 40, 67):
        for _, objective in make(name, inputs_length=inputs_length):
            for length in range(1, objective.chunk_length):
                leftover = objective.for_leftover(length)
                tokens_BL = np.arange(3, 3 + length, dtype=np.uint16)[None].repeat(3, axis=0)
                batch = leftover(tokens_BL, np.arange(3))
                assert batch["inputs"].shape == (3, inputs_length)
                assert batch["targets"].shape == (3, objective.targets_length)
                for inputs, targets in zip(batch["inputs"], batch["targets"], strict=True):
                    assert len(without_padding(targets)) > 0
                    ids = {*without_padding(inputs), *without_padding(targets)}
                    assert set(tokens_BL[0].tolist()) <= ids  # nothing is lost
                if name == "masked_lm":
                    assert (batch["loss_weights"].sum(axis=1) >= 1).all()
                    assert (batch["loss_weights"] <= (batch["targets"] > 1)).all()


@pytest.mark.parametrize(("density", "mean"), [(0.15, 3.0), (0.5, 3.0), (0.7, 2.4), (0.15, 64.0), (0.3, 1.0)])
def test_span_corruption_of_what_is_left_over_drops_as_many_tokens_as_t5(density, mean):
    task = TaskConfig(noise_density=density, mean_noise_span_length=mean)
    lengths = {"inputs_length": 120, "targets_length": None}
    ((_, objective),) = make_objectives(task, TOKENIZER, **lengths, seed=5)
    for length in range(1, min(objective.chunk_length, 90)):
        tokens_1L = np.arange(3, 3 + length)[None]
        batch = objective.for_leftover(length)(tokens_1L, np.zeros(1, int))
        inputs, targets = without_padding(batch["inputs"][0]), without_padding(batch["targets"][0])
        # T5's `random_spans_noise_mask`: rounded half to even, at least one token of two or more is dropped and kept.
        dropped = min(max(int(np.round(np.float32(length) * np.float32(density))), 1), length - 1)
        num_spans = min(max(int(np.round(np.float32(dropped) / np.float32(mean))), 1), length - dropped)
        if length == 1:
            assert (inputs, targets) == ([3], [objective.first_sentinel])
        else:
            assert len(targets) == dropped + num_spans
            assert len(inputs) == length - dropped + num_spans
            assert inputs[0] == 3


def has_choice(objective):
    """False for what T5's masks always place at the end of the chunk: a single span."""
    if isinstance(objective, SpanCorruption):
        return noise_counts(objective.chunk_length, objective.noise_density, objective.mean_span_length)[1] > 1
    return not isinstance(objective, CausalLM)


@pytest.mark.parametrize("name", NAMES)
def test_another_index_or_seed_gives_another_example_where_there_is_a_choice(name):
    for _, objective in make(name, inputs_length=80):
        tokens_BL = np.tile(chunks(objective, 1), (40, 1))
        inputs_BS = objective(tokens_BL, np.arange(40))["inputs"]
        assert (len(np.unique(inputs_BS, axis=0)) > 15) == has_choice(objective)  # of 40; a prefix LM has few splits
        reseeded = dataclasses.replace(objective, seed=objective.seed + 1)
        assert (reseeded(tokens_BL, np.arange(40))["inputs"] != inputs_BS).any() == has_choice(objective)


@pytest.mark.parametrize("name", NAMES)
def test_workers_get_a_copy_that_does_the_same(name):
    for _, objective in make(name, inputs_length=60):
        tokens_BL = chunks(objective, 3)
        copy = pickle.loads(pickle.dumps(objective))
        assert copy == objective
        assert_same(copy(tokens_BL, np.arange(3)), objective(tokens_BL, np.arange(3)))


def test_loss_weights_come_from_the_masked_lm_alone():
    for name in NAMES:
        for _, objective in make(name, inputs_length=60):
            sides = objective(chunks(objective, 2), np.arange(2)).keys()
            assert ("loss_weights" in sides) == (name == "masked_lm")
