"""Tests t5x_lite/perf/flops.py"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from t5x_lite.config import MeshConfig, TrainConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.loop import encode_and_decode
from t5x_lite.inference.params import make_decode_spec, make_sampling_params
from t5x_lite.model.architectures import Architecture, abstract
from t5x_lite.model.presets import presets
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.perf.flops import forward_flops, generate_flops, peak_flops, recompute_flops, train_flops
from t5x_lite.training.step import loss_sums
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
def test_forward_flops_count_the_products_of_the_program(version):
    cfg, inputs_BS, decoder_inputs_BT = tiny.FAMILY[version], tiny.ids(1, tiny.S), tiny.ids(1, tiny.T)
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    program = jax.make_jaxpr(lambda model: model(inputs_BS, decoder_inputs_BT))(model)
    assert forward_flops(cfg, tiny.S, tiny.T) == product_flops(program.jaxpr)


@pytest.mark.parametrize("name", ["causal_lm", "prefix_lm", "masked_lm"])
def test_forward_flops_of_models_with_one_stack(name):
    cfg, ids_BX = tiny.T5_1_1, tiny.ids(1, tiny.S)
    program = jax.make_jaxpr(lambda model: model(ids_BX))(abstract(cfg, Architecture(name)))
    lengths = (tiny.S, 0) if name == "masked_lm" else (0, tiny.S)
    assert forward_flops(cfg, *lengths, Architecture(name)) == product_flops(program.jaxpr)


@pytest.mark.parametrize("name", ["sequence_classifier", "token_classifier"])
def test_the_head_of_a_classifier_is_not_counted(name):
    cfg, ids_BS, labels = tiny.T5_1_1, tiny.ids(1, tiny.S), ("a", "b", "c")
    program = jax.make_jaxpr(lambda model: model(ids_BS))(abstract(cfg, Architecture(name, labels)))
    head = 2 * cfg.emb_dim * len(labels) * (1 if name == "sequence_classifier" else tiny.S)
    assert forward_flops(cfg, tiny.S, 0, Architecture(name, labels)) == product_flops(program.jaxpr) - head


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


REMATS = ("none", "minimal", "full", ("query", "mlp_wi_1"), ("attention_out",))


@pytest.mark.parametrize("remat", REMATS, ids=str)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_step_on_a_mesh_has_the_flops_of_training_and_recomputation(version, remat):
    cfg, rows = dataclasses.replace(tiny.BOTH[version], remat=remat), 8
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    lengths = {"encoder_input_tokens": tiny.S, "decoder_input_tokens": tiny.T}
    lengths |= {"decoder_target_tokens": tiny.T, "decoder_loss_weights": tiny.T}
    batch = {name: jax.ShapeDtypeStruct((rows, length), jnp.int32) for name, length in lengths.items()}
    with jax.set_mesh(make_mesh(MeshConfig())):
        gradients = jax.grad(lambda model, batch: loss_sums(model, batch, TrainConfig(), None).loss)
        found = product_flops(jax.make_jaxpr(gradients)(model, batch).jaxpr)
    counted = train_flops(cfg, tiny.S, tiny.T) + recompute_flops(cfg, tiny.S, tiny.T)
    assert found == rows * counted


@pytest.mark.parametrize(("num_keys", "again"), [(512, 1), (513, 3)])
def test_fused_attention_recomputes_its_logits_under_every_policy(num_keys, again):
    cfg = dataclasses.replace(presets["t5_1_1_base"], attention="fused")
    product, masked = 2 * cfg.num_encoder_layers * num_keys**2 * 768, Architecture("masked_lm")

    def more(remat):
        fused, reference = (dataclasses.replace(cfg, remat=remat, attention=name) for name in ("fused", "reference"))
        return recompute_flops(fused, num_keys, 0, masked) - recompute_flops(reference, num_keys, 0, masked)

    assert more("none") == again * product
    assert more("minimal") == (again - 1) * product  # the reference recomputes its logits as well
    assert more("full") == again * product


@pytest.mark.parametrize(("architecture", "stacks"), [("causal_lm", (0, 4)), ("masked_lm", (2, 0))])
def test_models_with_one_stack_recompute_its_layers(architecture, stacks):
    cfg = dataclasses.replace(tiny.T5_1_1, remat="full")
    D, inner, F, L = cfg.emb_dim, cfg.num_heads * cfg.head_dim, cfg.mlp_dim, tiny.S
    a_layer = 2 * (4 * L * D * inner + 2 * L * L * inner + 2 * L * D * F)  # all but the last product
    assert recompute_flops(cfg, L, L, Architecture(architecture)) == sum(stacks) * a_layer


def test_generate_flops_count_the_products_of_the_program():
    cfg, num_steps = tiny.T5_1_1, 9
    model = jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))
    configs = [GenerationConfig(max_new_tokens=num_steps)] * tiny.B
    spec = make_decode_spec(configs, vocab_size=cfg.vocab_size, num_steps=num_steps)
    params = make_sampling_params(configs, range(tiny.B), eos_id=1)
    program = jax.make_jaxpr(lambda model: encode_and_decode(model, tiny.ids(tiny.B, tiny.S), params, spec=spec))(model)
    once = product_flops(program.jaxpr)  # the loop's body once, for it has no length

    def counted(steps):
        return tiny.B * generate_flops(cfg, tiny.S, steps)

    a_step = counted(num_steps) - tiny.B * generate_flops(cfg, tiny.S, 0)
    assert once == counted(num_steps) - a_step * (num_steps - 1) // num_steps
