"""Tests t5x_lite/checkpoints/sizes.py"""

import dataclasses
import json
import math

import pytest

from t5x_lite.checkpoints.hf.weights import save_weights
from t5x_lite.checkpoints.load import load
from t5x_lite.checkpoints.sizes import check_sizes
from t5x_lite.checkpoints.weights import param_shapes, reader
from t5x_lite.config.architectures import ARCHITECTURES
from tests import tiny


@pytest.mark.parametrize("cfg", tiny.FAMILY.values(), ids=tiny.FAMILY)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_has_the_parameters_that_its_description_claims(name, cfg):
    architecture = tiny.architecture(name)
    shapes = param_shapes(cfg, architecture)
    check_sizes(cfg, architecture, sum(map(math.prod, shapes.values())), "a.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_layers": 10**9}, "a model of 1,000,000,004 layers, but its weights are 80 arrays"),
        ({"num_decoder_layers": 10**9}, "a model of 1,000,000,002 layers, but its weights are 80 arrays"),
        ({"vocab_size": 2**31 - 1}, r"a model of .* parameters or more, but its weights have 34,392"),
        ({"d_model": 10**9, "d_ff": 10**9}, r"a model of .* parameters or more, but its weights have 34,392"),
        ({"d_kv": 10**9}, r"a model of .* parameters or more, but its weights have 34,392"),
        ({"relative_attention_num_buckets": 10**9}, r"a model of .* parameters or more, but its weights have 34,392"),
    ],
)
def test_a_description_of_more_than_the_weights_hold_is_refused_before_anything_is_built(fields, message, tmp_path):
    cfg = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
    model = tiny.drawn_by_name("encoder_decoder", cfg)
    save_weights(tmp_path, cfg, reader(model), dtype=model.embedding.dtype)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(ValueError, match=rf"config.json describes {message}.*: use the files of one model"):
        load(tmp_path)
