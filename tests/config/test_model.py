"""Tests t5x_lite/config/model.py; what a field alone refuses is in test_run.py."""

import dataclasses

import pytest

from t5x_lite import config


def test_added_tokens_need_a_pretrained_model_and_rows_need_added_tokens():
    with pytest.raises(ValueError, match=r"model.added_tokens is \['<hl>'\] without model.pretrained: use task"):
        config.ModelOptions(added_tokens=("<hl>",))
    with pytest.raises(ValueError, match=r"model.added_token_rows is zero without model.added_tokens: leave it out"):
        config.ModelOptions(pretrained="x", added_token_rows="zero")


def test_every_model_option_is_a_field_of_the_model():
    options = {field.name for field in dataclasses.fields(config.ModelOptions)} - {
        "preset",
        "architecture",
        "pretrained",
        "added_tokens",
        "added_token_rows",
    }
    assert options <= {field.name for field in dataclasses.fields(config.ModelConfig)}
