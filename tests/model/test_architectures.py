# SPDX-License-Identifier: Apache-2.0
import jax
import pytest
from flax import nnx

from t5x_lite.model.architectures import CLASSIFIERS, GENERATORS, Architecture, abstract, make_model
from tests import tiny


@pytest.mark.parametrize("name", [*GENERATORS, *CLASSIFIERS])
def test_the_shapes_of_a_model_are_those_of_one_that_is_made(name):
    architecture = Architecture(name, ("bad", "good", "neither") if name in CLASSIFIERS else ())
    model = make_model(tiny.T5_1_1, architecture, rngs=nnx.Rngs(0))
    shapes = abstract(tiny.T5_1_1, architecture)
    assert type(model) is type(shapes)
    assert jax.tree.map(lambda leaf: leaf.shape, model) == jax.tree.map(lambda leaf: leaf.shape, shapes)


def test_a_classifier_has_a_logit_a_label():
    shapes = abstract(tiny.T5_1_1, Architecture("sequence_classifier", ("bad", "good", "neither")))
    assert shapes.classifier.bias[...].shape == (3,)
