"""Tests t5x_lite/config/architectures.py"""

import pytest

from t5x_lite.config import ModelOptions
from t5x_lite.config.architectures import ARCHITECTURES, DECODERS, TRAINABLE, Architecture


def test_an_architecture_survives_a_checkpoint_description():
    architecture = Architecture("sequence_classifier", ("bad", "good"))
    assert architecture.as_json() == {"name": "sequence_classifier", "labels": ("bad", "good")}
    for described in (architecture, Architecture("prefix_lm", keeps_eos=True), Architecture("prefix_lm")):
        assert Architecture(**described.as_json()) == described


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_predicts_one_kind_of_output(name):
    traits = Architecture(name).traits
    assert name not in TRAINABLE or traits is ModelOptions(architecture=name).traits
    assert traits.predicts == (name in TRAINABLE)
    assert traits.has_encoder or traits.decodes
    assert traits.decodes + traits.fills_masks + (traits.labels_per is not None) == traits.predicts
    assert traits.fills_spans <= traits.decodes
    assert not (traits.sees_prefix and traits.has_encoder)


def test_an_encoder_alone_predicts_nothing():
    remedy = "use t5x-lite embed, or train one of masked_lm, sequence_classifier, token_classifier that starts from it"
    with pytest.raises(ValueError, match=f"the model is an encoder alone, which predicts nothing: {remedy}"):
        Architecture("encoder").check_predicts()
    for name in TRAINABLE:
        Architecture(name).check_predicts()


def test_the_decoders_are_listed():
    assert DECODERS == ("encoder_decoder", "causal_lm", "prefix_lm")
