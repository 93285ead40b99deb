"""Tests t5x_lite/checkpoints/param_names.py"""

import collections

import jax
import numpy as np
import pytest
from flax import nnx

from t5x_lite.checkpoints.param_names import Form, Row, rows
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.param_paths import named_leaves
from tests import tiny

# Shapes here, as T5X has them and as Hugging Face has them, and a part of the array here.
FORMS = {
    Form.KEPT: ((7, 4), (7, 4), (7, 4), (slice(1, 6), slice(2, 4))),
    Form.KERNEL: ((7, 4), (7, 4), (4, 7), (slice(1, 6), slice(2, 4))),
    Form.INTO_HEADS: ((7, 3, 5), (7, 15), (15, 7), (slice(2, 6), slice(1, 3), slice(0, 5))),
    Form.OUT_OF_HEADS: ((3, 5, 7), (15, 7), (7, 15), (slice(1, 3), slice(0, 5), slice(2, 6))),
}


@pytest.mark.parametrize("version", tiny.FAMILY)
def test_every_parameter_has_one_row(version):
    cfg = tiny.FAMILY[version]
    names = named_leaves(jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0))))
    assert collections.Counter(row.ours for row in rows(cfg)) == collections.Counter(list(names))


@pytest.mark.parametrize("version", tiny.FAMILY)
def test_no_two_parameters_share_a_name_elsewhere(version):
    table = list(rows(tiny.FAMILY[version]))
    assert len({row.hf for row in table}) == len({row.t5x for row in table}) == len(table)
    assert all(("{layer}" in row.hf) == ("{layer}" in row.t5x) for row in table)


@pytest.mark.parametrize("form", Form)
def test_an_array_has_the_shape_it_has_elsewhere_and_comes_back(form):
    shape, matrix_shape, hf_shape, _ = FORMS[form]
    row = Row("ours", "hf", "t5x", form)
    assert (row.matrix_shape(shape), row.hf_shape(shape)) == (matrix_shape, hf_shape)
    array = np.random.default_rng(0).normal(size=shape)
    there = row.to_hf(array)
    assert there.shape == hf_shape
    np.testing.assert_array_equal(row.from_hf(there, shape), array)


def test_heads_lie_side_by_side_and_transposed_for_hugging_face():
    array_DNH = np.random.default_rng(0).normal(size=(7, 3, 5))
    there = Row("ours", "hf", "t5x", Form.INTO_HEADS).to_hf(array_DNH)
    assert there[2 * 5 + 4, 6] == array_DNH[6, 2, 4]
    array_NHD = np.random.default_rng(0).normal(size=(3, 5, 7))
    there = Row("ours", "hf", "t5x", Form.OUT_OF_HEADS).to_hf(array_NHD)
    assert there[6, 2 * 5 + 4] == array_NHD[2, 4, 6]


@pytest.mark.parametrize("form", Form)
def test_a_part_is_found_where_it_lies(form):
    shape, _, _, index = FORMS[form]
    row = Row("ours", "hf", "t5x", form)
    array = np.random.default_rng(0).normal(size=shape)
    part = row.to_hf(array)[row.hf_index(index, shape)]
    np.testing.assert_array_equal(row.from_hf(part, array[index].shape), array[index])
