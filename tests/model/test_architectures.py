# SPDX-License-Identifier: Apache-2.0
import jax
import pytest
from flax import nnx

from t5x_lite.model.architectures import CLASSIFIERS, GENERATORS, Architecture, abstract, make_model
from t5x_lite.trees import named_leaves
from tests import tiny

LABELS = ("bad", "good", "neither")


def shapes_of(tree):
    return {name: leaf.shape for name, leaf in named_leaves(tree).items()}


@pytest.mark.parametrize("name", [*GENERATORS, *CLASSIFIERS])
def test_the_shapes_of_a_model_are_those_of_one_that_is_made(name):
    architecture = Architecture(name, LABELS if name in CLASSIFIERS else ())
    shapes = abstract(tiny.T5_1_1, architecture)
    model = jax.eval_shape(lambda: make_model(tiny.T5_1_1, architecture, rngs=nnx.Rngs(7)))
    assert type(model) is type(shapes) is (GENERATORS | CLASSIFIERS)[name]
    assert shapes_of(model) == shapes_of(shapes)


def test_a_classifier_has_a_logit_a_label():
    shapes = abstract(tiny.T5_1_1, Architecture("sequence_classifier", LABELS))
    assert named_leaves(shapes)["classifier/bias"].shape == (3,)
