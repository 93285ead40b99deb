# SPDX-License-Identifier: Apache-2.0
import pkgutil

import jax
import numpy as np
import pytest
from flax import nnx

from t5x_lite.config.architectures import ARCHITECTURES
from t5x_lite.data.converters import targets_of
from t5x_lite.model.architectures import abstract, make_model
from t5x_lite.parallel.param_paths import named_leaves
from tests import tiny


def shapes_of(tree):
    return {name: leaf.shape for name, leaf in named_leaves(tree).items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_shapes_of_a_model_are_those_of_one_that_is_made(name):
    architecture = tiny.architecture(name)
    shapes = abstract(tiny.T5_1_1, architecture)
    model = jax.eval_shape(lambda: make_model(tiny.T5_1_1, architecture, rngs=nnx.Rngs(7)))
    assert type(model) is type(shapes) is pkgutil.resolve_name(architecture.traits.model)
    assert shapes_of(model) == shapes_of(shapes)


LENGTH = 7
IDS, MORE_IDS = tiny.ids(2, LENGTH), tiny.ids(2, LENGTH, seed=1)
WEIGHTS = np.array([[1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]], np.int32)
DECODER = {"decoder_input_tokens": IDS, "decoder_target_tokens": MORE_IDS, "decoder_loss_weights": WEIGHTS}
SEGMENTS = np.array([[1, 1, 1, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1, 2]], np.int32)
PREFIX = np.array([[1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0, 1]], np.int32)
ENCODER = {"encoder_input_tokens": MORE_IDS}


@pytest.mark.parametrize(
    ("name", "batch", "arguments"),
    [
        ("encoder_decoder", ENCODER | DECODER, (MORE_IDS, IDS)),
        (
            "encoder_decoder",
            ENCODER | DECODER | {"encoder_segment_ids": SEGMENTS, "decoder_segment_ids": SEGMENTS},
            (MORE_IDS, IDS, SEGMENTS, SEGMENTS),
        ),
        ("causal_lm", DECODER, (IDS,)),
        ("causal_lm", DECODER | {"decoder_segment_ids": SEGMENTS}, (IDS, None, SEGMENTS)),
        (
            "prefix_lm",
            DECODER | {"decoder_causal_attention": PREFIX, "decoder_segment_ids": SEGMENTS},
            (IDS, PREFIX, SEGMENTS),
        ),
        ("masked_lm", ENCODER | {"encoder_target_tokens": IDS, "encoder_loss_weights": WEIGHTS}, (MORE_IDS,)),
        ("sequence_classifier", ENCODER | {"target_labels": IDS[:, :1], "label_weights": WEIGHTS[:, :1]}, (MORE_IDS,)),
        ("token_classifier", ENCODER | {"target_labels": IDS, "label_weights": WEIGHTS}, (MORE_IDS,)),
    ],
)
def test_predictions_for_a_batch_are_the_models_logits(name, batch, arguments):
    model = tiny.drawn_by_name(name, tiny.T5_1_1)
    hidden_BTD, kernel_DV, targets_BT, weights_BT = model.predict(batch)
    logits = np.asarray(model(*arguments))
    np.testing.assert_allclose(np.asarray(hidden_BTD @ kernel_DV).reshape(logits.shape), logits, rtol=1e-5, atol=1e-5)
    targets, weights = targets_of(batch)
    np.testing.assert_array_equal(targets_BT, targets)
    np.testing.assert_array_equal(weights_BT, weights)


def test_a_classifier_has_one_logit_per_label():
    shapes = abstract(tiny.T5_1_1, tiny.architecture("sequence_classifier"))
    assert named_leaves(shapes)["classifier/bias"].shape == (3,)
