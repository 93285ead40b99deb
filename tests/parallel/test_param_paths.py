"""Tests t5x_lite/parallel/param_paths.py"""

import jax
import numpy as np

from t5x_lite.parallel.param_paths import from_named_leaves, from_pure_dict, named_leaves, to_pure_dict
from tests import tiny


def test_a_models_leaves_are_named_by_their_paths():
    names = named_leaves(tiny.model(tiny.T5_1_1))
    assert names["encoder/blocks/attention/query"].shape == (2, 20, 3, 5)
    assert len(names) == len(jax.tree.leaves(tiny.model(tiny.T5_1_1)))


def test_named_leaves_make_the_tree_again():
    model = tiny.model(tiny.T5_1_1)
    doubled = from_named_leaves(model, {name: 2 * leaf for name, leaf in named_leaves(model).items()})
    np.testing.assert_array_equal(doubled.embedding[...], 2 * model.embedding[...])
    assert jax.tree.structure(doubled) == jax.tree.structure(model)


def test_nested_dictionaries_make_the_tree_again():
    model = tiny.model(tiny.T5_1_1)
    pure = to_pure_dict(model)
    assert pure["decoder"]["final_norm"]["scale"].shape == (20,)
    again = from_pure_dict(model, pure)
    jax.tree.map(np.testing.assert_array_equal, again, model)
