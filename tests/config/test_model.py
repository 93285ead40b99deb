"""Tests t5x_lite/config/model.py; what a field alone refuses is in test_run.py."""

import dataclasses

from t5x_lite import config


def test_every_model_option_is_a_field_of_the_model():
    options = {field.name for field in dataclasses.fields(config.ModelOptions)} - {
        "preset",
        "architecture",
        "pretrained",
    }
    assert options <= {field.name for field in dataclasses.fields(config.ModelConfig)}
