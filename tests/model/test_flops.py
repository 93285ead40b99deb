"""Tests t5x_lite/model/flops.py."""

import math

import jax
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from t5x_lite.model.architectures import Architecture, abstract
from t5x_lite.model.flops import forward_flops, peak_flops, train_flops
from t5x_lite.model.presets import presets
from t5x_lite.model.transformer import T5
from tests import tiny


def product_flops(jaxpr) -> int:
    """Two for each multiply-add of the matrix products of a traced program."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * math.prod(shape[dim] for dim in contracted)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(map(product_flops, jaxprs_in_params(equation.params)))
    return total


# The tiny models have encoders and decoders of different depths.
@pytest.mark.parametrize("version", tiny.FAMILY)
def test_a_forward_pass_asks_for_the_products_that_its_program_has(version):
    cfg, inputs_BS, decoder_inputs_BT = tiny.FAMILY[version], tiny.ids(1, tiny.S), tiny.ids(1, tiny.T)
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    program = jax.make_jaxpr(lambda model: model(inputs_BS, decoder_inputs_BT))(model)
    assert forward_flops(cfg, tiny.S, tiny.T) == product_flops(program.jaxpr)


@pytest.mark.parametrize("name", ["causal_lm", "prefix_lm", "masked_lm"])
def test_so_does_that_of_an_encoder_or_a_decoder_alone(name):
    cfg, ids_BX = tiny.T5_1_1, tiny.ids(1, tiny.S)
    program = jax.make_jaxpr(lambda model: model(ids_BX))(abstract(cfg, Architecture(name)))
    lengths = (tiny.S, 0) if name == "masked_lm" else (0, tiny.S)
    assert forward_flops(cfg, *lengths, name) == product_flops(program.jaxpr)


@pytest.mark.parametrize("name", ["sequence_classifier", "token_classifier"])
def test_the_head_of_a_classifier_is_not_counted(name):
    cfg, ids_BS, labels = tiny.T5_1_1, tiny.ids(1, tiny.S), ("a", "b", "c")
    program = jax.make_jaxpr(lambda model: model(ids_BS))(abstract(cfg, Architecture(name, labels)))
    head = 2 * cfg.emb_dim * len(labels) * (1 if name == "sequence_classifier" else tiny.S)
    assert forward_flops(cfg, tiny.S, 0, name) == product_flops(program.jaxpr) - head


@pytest.mark.parametrize(
    ("name", "targets_length", "tera"),
    [("small", 128, 0.110), ("base", 114, 0.426), ("large", 128, 1.50), ("xl", 128, 5.47), ("xxl", 128, 21.4)],
)
def test_a_training_sequence_costs_the_tera_flops_counted_by_hand(name, targets_length, tera):
    flops = train_flops(presets[f"t5_1_1_{name}"], 512, targets_length)
    assert flops / 1e12 == pytest.approx(tera, rel=0.004)


def test_the_peak_of_a_chip_is_known_by_its_kind():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("TPU v5 lite") == 197e12
    assert peak_flops("cpu") is None
