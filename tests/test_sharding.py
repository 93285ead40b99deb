"""Tests t5x_lite/sharding.py on eight fake devices."""

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from t5x_lite.config import MeshConfig
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.transformer import T5
from t5x_lite.sharding import (
    check_batch_size,
    device_batches,
    local_rows,
    make_mesh,
    parameter_axes,
    partition_spec,
    shardings,
)
from tests import tiny


def test_minus_one_takes_the_devices_that_are_left():
    mesh = make_mesh(MeshConfig(data=2, fsdp=-1, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (MeshConfig(data=3, fsdp=-1), r"mesh.data 3, mesh.fsdp -1, mesh.tensor 1: 3 does not divide the 8 devices"),
        (MeshConfig(data=16), r"ask for 16 devices, but there are 8: set one of them to -1"),
        (MeshConfig(data=2), r"ask for 2 devices, but there are 8"),
    ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(cfg)


def test_a_parameter_is_cut_as_the_table_says():
    assert partition_spec(("layers", "embed", "heads", "head_dim")) == PartitionSpec(None, "fsdp", "tensor", None)
    assert partition_spec(("embed", "labels")) == PartitionSpec("fsdp", None)
    assert partition_spec((None, "vocab")) == PartitionSpec(None, "tensor")


def test_fsdp_and_tensor_each_cut_every_matrix_of_the_model():
    model = jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    for names in jax.tree.leaves(parameter_axes(model), is_leaf=lambda node: isinstance(node, tuple)):
        cut = set(partition_spec(names)) - {None}
        if "embed" in names and len(set(names) - {"layers"}) > 1:
            assert cut == {"fsdp", "tensor"}, names
        else:  # a norm's scale, a position bias table
            assert cut <= {"fsdp", "tensor"}, names
            assert len(cut) == 1, names


def test_every_parameter_has_a_name_for_each_dimension():
    model = jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    ranks = jax.tree.map(lambda leaf, names: leaf.ndim == len(names), model, parameter_axes(model))
    assert all(jax.tree.leaves(ranks))
    assert parameter_axes(model).encoder.blocks.attention.query.get_value() == ("layers", "embed", "heads", "head_dim")


def test_a_mesh_axis_that_does_not_divide_a_dimension_is_named_with_both_sizes():
    model = jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"mesh.tensor is 8, .* heads dimension of 3"):
        shardings(make_mesh(MeshConfig(data=1, tensor=8)), model, parameter_axes(model))


def test_a_batch_that_cannot_be_spread_evenly_is_refused():
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    check_batch_size(mesh, 48, num_microbatches=3)
    with pytest.raises(ValueError, match=r"train.batch_size is 40, .* = 2 \* 4 \* 3 = 24: use a multiple"):
        check_batch_size(mesh, 40, num_microbatches=3)


def test_one_process_supplies_all_rows():
    assert local_rows(make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)), 24) == slice(0, 24)


def test_batches_reach_the_devices_in_order_and_one_ahead():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    taken = []

    def batches():
        for number in range(3):
            taken.append(number)
            yield {"inputs": np.full((8, 5), number)}

    arrived = device_batches(batches(), mesh)
    first = next(arrived)
    assert taken == [0, 1]
    assert first["inputs"].sharding.spec == PartitionSpec(("data", "fsdp"))
    assert [int(batch["inputs"][0, 0]) for batch in (first, *arrived)] == [0, 1, 2]


@pytest.mark.parametrize("head", [SequenceClassifier, TokenClassifier])
def test_the_models_of_one_stack_have_names_too(head):
    models = jax.eval_shape(
        lambda: (
            Decoder(tiny.T5_1_1, rngs=nnx.Rngs(0)),
            MaskedLM(tiny.T5_1_1, rngs=nnx.Rngs(0)),
            head(tiny.T5_1_1, 4, rngs=nnx.Rngs(0)),
        )
    )
    for model in models:
        axes = parameter_axes(model)
        ranks = jax.tree.map(lambda leaf, names: leaf.ndim == len(partition_spec(names)), model, axes)
        assert all(jax.tree.leaves(ranks))
    assert axes.classifier.kernel.get_value() == ("embed", "labels")
