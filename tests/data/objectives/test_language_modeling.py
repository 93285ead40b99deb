"""Tests t5x_lite/data/objectives/language_modeling.py"""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.language_modeling import CausalLM, PrefixLM, max_targets
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.data.objectives.reconstruction import without_padding


def from_task(cls, inputs_length=512, targets_length=None):
    tokenizer = ByteTokenizer()
    return cls.from_task(TaskConfig(), tokenizer, inputs_length=inputs_length, targets_length=targets_length, seed=5)


def test_a_prefix_lm_splits_as_t5s_published_test_says():
    """Chunks of 99 tokens, 1 to 99, at lengths of 100; the two sides are the chunk, and its prefixes differ."""
    objective = from_task(PrefixLM, inputs_length=100, targets_length=100)
    assert objective.chunk_length == 99
    tokens_BL = np.tile(np.arange(1, 100), (100, 1))
    batch = objective(tokens_BL, np.arange(100))
    prefix_lengths = set()
    for inputs_S, targets_T in zip(batch["inputs"], batch["targets"], strict=True):
        inputs, targets = inputs_S[inputs_S > 0].tolist(), targets_T[targets_T > 0].tolist()
        assert inputs.pop() == targets.pop() == 1
        assert inputs + targets == list(range(1, 100))
        prefix_lengths.add(len(inputs))
    assert len(prefix_lengths) > 30


@pytest.mark.parametrize(("share", "splits"), [(0.5, range(1, 19)), (0.25, range(10, 19))])
def test_every_split_is_equally_likely(share, splits):
    """Chi-square over the numbers of input tokens; T5's share is 0.5, and any place in [1, L - 1] may split."""
    objective = PrefixLM(inputs_length=20, targets_length=19, chunk_length=19, targets_share=share, seed=3)
    inputs_BS = objective(np.full((6_000, 19), 7), np.arange(6_000))["inputs"]
    counts = np.bincount((inputs_BS > 1).sum(axis=1), minlength=20)
    assert np.flatnonzero(counts).tolist() == list(splits)
    expected, freedom = 6_000 / len(splits), len(splits) - 1
    assert np.square(counts[counts > 0] - expected).sum() / expected < freedom + 5 * math.sqrt(2 * freedom)


def test_the_average_share_of_targets_is_the_one_that_is_asked_for():
    assert max_targets(100, 0.5) == 99  # 1 to 99: 50 on average
    assert max_targets(100, 0.25) == 49  # 1 to 49: 25 on average
    assert max_targets(100, 0.9) == 99
    assert max_targets(2, 0.25) == 1


@hypothesis.settings(max_examples=60, derandomize=True)
@hypothesis.given(
    chunk_length=st.integers(2, 60),
    share=st.floats(0.05, 0.95),
    num_prefix=st.integers(0, 4),
    extra=st.integers(0, 3),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_split_loses_nothing_and_fits_with_its_prefix(chunk_length, share, num_prefix, extra, seed):
    prefix = tuple(range(50, 50 + num_prefix))
    objective = PrefixLM(
        inputs_length=num_prefix + chunk_length, targets_length=max_targets(chunk_length, share) + 1 + extra,
        chunk_length=chunk_length, targets_share=share, prefix_ids=prefix, seed=seed,
    )  # fmt: skip
    tokens_BL = np.random.default_rng(seed).integers(100, 6_000, (5, chunk_length))
    batch = objective(tokens_BL, seed + np.arange(5))
    assert batch["inputs"].shape == (5, num_prefix + chunk_length)
    for tokens_L, inputs_S, targets_T in zip(tokens_BL, batch["inputs"], batch["targets"], strict=True):
        inputs, targets = without_padding(inputs_S), without_padding(targets_T)
        assert inputs[:num_prefix] == list(prefix)
        assert len(inputs) > num_prefix
        assert 1 <= len(targets) <= max_targets(chunk_length, share)
        assert inputs[num_prefix:] + targets == tokens_L.tolist()


def test_a_prefix_lm_of_a_run_fits_both_lengths():
    objective = from_task(PrefixLM)
    assert (objective.inputs_length, objective.targets_length, objective.chunk_length) == (512, 511, 511)
    assert (objective.targets_share, objective.prefix_ids, objective.eos_id, objective.seed) == (0.5, (), 1, 5)
    shorter = from_task(PrefixLM, inputs_length=40, targets_length=23)
    assert (shorter.inputs_length, shorter.targets_length, shorter.chunk_length) == (40, 23, 23)
    rows = shorter(np.full((200, 23), 7), np.arange(200))["targets"]
    assert (rows == 1).sum(axis=1).tolist() == [1] * 200
    assert rows[:, -1].max() == 1  # some row fills all of its places
    longer = from_task(PrefixLM, inputs_length=40, targets_length=90)
    assert (longer.targets_length, longer.chunk_length) == (90, 39)


def test_a_causal_lm_gives_the_encoder_eos_alone_and_the_decoder_the_chunk():
    objective = CausalLM(inputs_length=3, targets_length=6, chunk_length=4, eos_id=99)
    batch = objective(np.array([[7, 8, 9, 6], [5, 4, 3, 2]], np.uint16), np.arange(2))
    assert batch["inputs"].tolist() == [[99, 0, 0], [99, 0, 0]]
    assert batch["targets"].tolist() == [[7, 8, 9, 6, 99, 0], [5, 4, 3, 2, 99, 0]]
    assert batch["inputs"].dtype == batch["targets"].dtype == np.int32


def test_a_causal_lm_of_a_run_fills_its_targets():
    objective = from_task(CausalLM)
    assert (objective.inputs_length, objective.targets_length, objective.chunk_length) == (512, 512, 511)
    narrow = from_task(CausalLM, inputs_length=1, targets_length=30)
    assert (narrow.inputs_length, narrow.targets_length, narrow.chunk_length) == (1, 30, 29)
    assert (narrow.eos_id, narrow.seed) == (1, 5)


def test_lengths_that_leave_no_tokens_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"inputs_length 40 .*targets_length 1 fit chunks of 1 .*use 3 and 2"):
        from_task(PrefixLM, inputs_length=40, targets_length=1)
    with pytest.raises(ValueError, match=r"inputs_length 2 .*targets_length None fit chunks of 1 .*use 3 and 2"):
        from_task(PrefixLM, inputs_length=2)
    assert from_task(PrefixLM, inputs_length=3, targets_length=2).chunk_length == 2
    with pytest.raises(ValueError, match=r"targets_length is None .*inputs_length 1.*set train.targets_length to 2"):
        from_task(CausalLM, inputs_length=1)
    with pytest.raises(ValueError, match=r"targets_length is 1 with .*inputs_length 9.*set train.targets_length to 2"):
        from_task(CausalLM, inputs_length=9, targets_length=1)
