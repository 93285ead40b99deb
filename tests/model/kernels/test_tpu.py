"""Tests t5x_lite/model/kernels/tpu.py, whose kernels run interpreted, on a CPU."""

import itertools

import numpy as np
import pytest

from t5x_lite.model.kernels import choice, tpu
from tests.model.kernels.attention_cases import Case, both, check

LENGTHS = (114, 128, 200, 512, 1_000)
QUICK = {
    "padded": Case(114, 114),
    "packed and causal": Case(200, 200, "causal", num_heads=3, segments=3),
    "prefix": Case(140, 140, "prefix", segments=2),
    "cross": Case(40, 150, "cross", head_dim=128, segments=1),
}
ALL = [
    *(Case(length, length, segments=count) for length, count in zip(LENGTHS, (0, 7, 1, 0, 9), strict=True)),
    *(Case(length, length, "causal", segments=count) for length, count in zip(LENGTHS, (9, 0, 5, 4, 3), strict=True)),
    *(Case(length, length, "prefix", segments=count) for length, count in zip(LENGTHS[:4], (0, 2, 6, 8), strict=True)),
    *(Case(*lengths, "cross", segments=3) for lengths in itertools.pairwise(LENGTHS)),
    Case(1_000, 114, "cross", head_dim=128),
    Case(200, 200, "causal", num_heads=3, head_dim=128),
    Case(130, 130, num_heads=5, segments=4),
    Case(200, 200, num_heads=4, head_dim=32),
    Case(130, 130, "prefix", num_heads=1, head_dim=256),
]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    monkeypatch.setattr(choice, "interpreted", "tpu")


@pytest.mark.parametrize("name", QUICK)
def test_values_and_gradients_are_those_of_the_reference(name):
    check(QUICK[name], "float32")


def test_values_and_gradients_are_those_of_the_reference_in_bfloat16():
    check(QUICK["packed and causal"], "bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_kind_and_length_has_the_values_and_gradients_of_the_reference(case):
    check(case, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ALL if case.num_queries <= 512], ids=str)
def test_every_kind_has_the_values_and_gradients_of_the_reference_in_bfloat16(case):
    check(case, "bfloat16")


@pytest.mark.parametrize("kind", ["all", "causal"])
def test_several_blocks_of_queries_and_keys_add_up(kind, monkeypatch):
    monkeypatch.setattr(tpu, "KEY_BLOCK", 128)
    monkeypatch.setattr(tpu, "LONG_QUERY_BLOCK", 128)
    check(Case(300, 300, kind, segments=2), "float32")


def test_the_same_bits_come_out_twice():
    first, second = (both(QUICK["packed and causal"], "float32")[0] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
