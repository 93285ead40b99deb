"""Tests t5x_lite/data/objectives/masked_lm.py"""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.masked_lm import MaskedLM, num_masked
from t5x_lite.data.tokenizers.bytes import ByteTokenizer

MASK = 7_000


def make(chunk_length=40, density=0.15, seed=3):
    return MaskedLM(
        inputs_length=chunk_length + 1, targets_length=chunk_length + 1, chunk_length=chunk_length,
        noise_density=density, mask_id=MASK, first_random_id=500, num_random_ids=30, seed=seed,
    )  # fmt: skip


def from_task(sentinels=100, density=0.15, inputs_length=512, targets_length=None):
    task = TaskConfig(objective="masked_lm", noise_density=density)
    tokenizer = ByteTokenizer(sentinels)
    return MaskedLM.from_task(task, tokenizer, inputs_length=inputs_length, targets_length=targets_length, seed=5)


def test_the_number_of_chosen_tokens_is_the_rounded_share_and_one_at_least():
    assert num_masked(511, 0.15) == 77
    assert num_masked(40, 0.15) == 6
    assert num_masked(3, 0.15) == 1


@hypothesis.settings(max_examples=60, derandomize=True)
@hypothesis.given(
    chunk_length=st.integers(1, 60),
    density=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31 - 1),
    index=st.integers(0, 2**48),
)
def test_targets_are_the_chunk_and_inputs_differ_where_a_target_counts_alone(chunk_length, density, seed, index):
    tokens_BL = np.random.default_rng(seed).integers(3, 500, (3, chunk_length))
    batch = make(chunk_length, density, seed)(tokens_BL, index + np.arange(3))
    inputs_BS, targets_BT, weights_BT = batch["inputs"], batch["targets"], batch["loss_weights"]
    assert inputs_BS.shape == targets_BT.shape == weights_BT.shape == (3, chunk_length + 1)
    assert {rows.dtype for rows in batch.values()} == {np.dtype(np.int32)}
    np.testing.assert_array_equal(targets_BT[:, :-1], tokens_BL)
    assert (targets_BT[:, -1] == 1).all()
    assert (inputs_BS[:, -1] == 1).all()
    assert (weights_BT[:, -1] == 0).all()
    assert weights_BT.sum(axis=1).tolist() == [num_masked(chunk_length, density)] * 3
    assert set(np.unique(weights_BT)) <= {0, 1}
    np.testing.assert_array_equal(inputs_BS[weights_BT == 0], targets_BT[weights_BT == 0])
    changed = inputs_BS[inputs_BS != targets_BT]
    assert ((changed == MASK) | ((changed >= 500) & (changed < 530))).all()


def test_every_token_is_chosen_equally_often():
    weights_BT = make(seed=4)(np.full((8_000, 40), 9), np.arange(8_000))["loss_weights"]
    np.testing.assert_allclose(weights_BT[:, :-1].mean(axis=0), 0.15, atol=5 * math.sqrt(0.15 * 0.85 / 8_000))


def test_of_the_chosen_tokens_80_percent_are_masked_10_replaced_and_10_left():
    batch = make(seed=4)(np.full((5_000, 40), 9), np.arange(5_000))
    chosen = batch["inputs"][batch["loss_weights"] == 1]
    shares = [(chosen == MASK).mean(), ((chosen >= 500) & (chosen < 530)).mean(), (chosen == 9).mean()]
    assert sum(shares) == pytest.approx(1)
    for share, expected in zip(shares, (0.8, 0.1, 0.1), strict=True):
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / len(chosen))


def test_what_becomes_of_a_token_is_independent_of_the_others():
    """Rows do not all mask 80% exactly: the number of six that are masked varies as coins do."""
    batch = make(seed=4)(np.full((5_000, 40), 9), np.arange(5_000))
    variance = (batch["inputs"] == MASK).sum(axis=1).var()
    assert variance == pytest.approx(6 * 0.8 * 0.2, rel=0.1)


def test_what_becomes_of_a_token_does_not_depend_on_its_place():
    batch = make(seed=4)(np.full((8_000, 40), 9), np.arange(8_000))
    num_chosen = batch["loss_weights"][:, :-1].sum(axis=0)
    masked = (batch["inputs"][:, :-1] == MASK).sum(axis=0) / num_chosen
    np.testing.assert_allclose(masked, 0.8, atol=5 * math.sqrt(0.8 * 0.2 / num_chosen.min()))


def test_every_ordinary_id_is_put_in_place_equally_often():
    batch = make(seed=4)(np.full((8_000, 40), 9), np.arange(8_000))
    inputs = batch["inputs"]
    counts = np.bincount(inputs[(inputs >= 500) & (inputs < MASK)] - 500, minlength=30)
    assert len(counts) == 30
    expected = counts.sum() / 30
    assert np.square(counts - expected).sum() / expected < 29 + 5 * math.sqrt(58)


def test_the_objective_of_a_run_masks_with_the_first_sentinel_and_replaces_with_no_special_id():
    objective = from_task(sentinels=100)
    assert (objective.inputs_length, objective.targets_length, objective.chunk_length) == (512, 512, 511)
    assert (objective.mask_id, objective.eos_id, objective.seed, objective.noise_density) == (258, 1, 5, 0.15)
    # Pad, EOS and unknown are 0, 1 and 2, and the sentinels 159 to 258.
    assert (objective.first_random_id, objective.first_random_id + objective.num_random_ids) == (3, 159)
    assert from_task(density=0.4, inputs_length=30, targets_length=30).noise_density == 0.4


def test_what_does_not_fit_a_run_is_refused_with_a_remedy():
    for targets_length in (511, 513):
        fields = rf"targets_length is {targets_length} but train.inputs_length is 512: .*leave train.targets_length out"
        with pytest.raises(ValueError, match=fields):
            from_task(targets_length=targets_length)
    with pytest.raises(ValueError, match=r"train.inputs_length is 1: masked_lm needs 2 or more"):
        from_task(inputs_length=1)
    with pytest.raises(ValueError, match=r"num_sentinels is 256 of 259 ids, which leaves no .*use fewer sentinels"):
        from_task(sentinels=256)
    assert from_task(sentinels=255).num_random_ids == 1
