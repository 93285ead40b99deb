"""Tests t5x_lite/checkpoints/arrays.py"""

from unittest import mock

import ml_dtypes
import numpy as np
import pytest

from t5x_lite.checkpoints import arrays
from t5x_lite.checkpoints.arrays import (
    checked_dtype,
    checked_index,
    checked_shape,
    equal,
    num_bytes,
    parts_of,
)
from tests.checkpoints.layouts import Array

FLOAT = np.dtype("float32")


def test_the_types_of_numbers_that_training_has_are_known_by_name():
    assert checked_dtype("float32", "x") == FLOAT
    assert checked_dtype("bfloat16", "x") == ml_dtypes.bfloat16
    assert checked_dtype("bool", "x") == np.dtype(bool)


@pytest.mark.parametrize("name", ["object", "void64", "V8", "O", "complex64", "str", ">f4", None, 4, ["f4"], {}, ""])
def test_other_types_are_refused_by_name(name):
    with pytest.raises(ValueError, match=r"here has dtype .*: convert it to one of float16, float32, "):
        checked_dtype(name, "here")


def test_the_type_that_stood_for_bfloat16_is_refused_with_its_reason():
    with pytest.raises(ValueError, match="here has dtype uint16, which T5X before June 2021 used for bfloat16"):
        checked_dtype("uint16", "here")


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1,) * 16])
def test_a_shape_comes_back_as_a_tuple(shape):
    assert checked_shape(list(shape), FLOAT, "x") == shape


@pytest.mark.parametrize(
    "shape",
    [None, 3, "12", b"12", [-1], [2, -3], [1.0], [True], ["2"], [[2]], {"0": 2}, [2**63], [2**48, 2**48], [1] * 17],
)
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"here claims the impossible shape .*: the file is damaged"):
        checked_shape(shape, FLOAT, "here")


def test_the_size_of_the_numbers_counts_for_what_is_possible():
    assert checked_shape([2**50], np.dtype("int8"), "x") == (2**50,)
    with pytest.raises(ValueError, match="impossible"):
        checked_shape([2**49], FLOAT, "x")
    assert num_bytes((3, 5), np.dtype("float64")) == 120


def test_an_index_is_filled_in():
    assert checked_index(None, (3, 5), "x") == (slice(0, 3), slice(0, 5))
    assert checked_index((slice(None), slice(2, None)), (3, 5), "x") == (slice(0, 3), slice(2, 5))
    assert checked_index((slice(1, 2, 1), slice(None, 4)), (3, 5), "x") == (slice(1, 2), slice(0, 4))
    assert checked_index((), (), "x") == ()


@pytest.mark.parametrize(
    "index",
    [
        (slice(None),),
        (slice(None),) * 3,
        (slice(0, 4), slice(None)),
        (slice(-1, None), slice(None)),
        (slice(2, 1), slice(None)),
        (slice(0, 3, 2), slice(None)),
        (slice(None), slice(None, None, -1)),
    ],
)
def test_an_index_that_is_no_part_is_refused(index):
    with pytest.raises(ValueError, match=r"here has shape \(3, 5\), which .* does not fit"):
        checked_index(index, (3, 5), "here")


def test_an_array_is_cut_into_parts_of_a_size_or_single_rows():
    assert list(parts_of((5, 3), 7)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(parts_of((2, 100), 7)) == [slice(0, 1), slice(1, 2)]
    assert list(parts_of((0, 3), 7)) == []


@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (4, 3, 2), (0, 3)])
def test_arrays_are_equal_if_all_their_numbers_are(shape):
    numbers = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    with mock.patch.object(arrays, "PART_SIZE", 4):
        assert equal(Array(numbers), Array(numbers.astype(np.float64)))
        assert not equal(Array(numbers), Array(numbers[None]))
        if numbers.size:
            other = numbers.copy()
            other[(-1,) * len(shape)] += 1
            assert not equal(Array(numbers), Array(other))
