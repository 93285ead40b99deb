"""Tests t5x_lite/parallel/mesh.py on eight fake devices."""

import jax
import numpy as np
import pytest
from flax import nnx

from t5x_lite.config import MeshConfig
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import (
    check_batch_size,
    device_batches,
    local_rows,
    make_mesh,
    parameter_axes,
    shardings,
)
from t5x_lite.parallel.rules import partition_spec
from tests import tiny


def test_minus_one_takes_the_devices_that_are_left():
    mesh = make_mesh(MeshConfig(data=2, fsdp=-1, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "context": 1, "tensor": 2}


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (
            MeshConfig(data=3, fsdp=-1),
            r"mesh.data 3, mesh.fsdp -1, mesh.context 1, mesh.tensor 1: 3 does not divide the number of devices, 8",
        ),
        (MeshConfig(data=16), r"need 16 devices, but there are 8: set one of them to -1"),
        (MeshConfig(data=2), r"need 2 devices, but there are 8"),
    ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(cfg)


def test_devices_without_a_slice_index_are_split_in_order():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2, slices=2))
    assert dict(mesh.shape) == {"data": 4, "fsdp": 2, "context": 1, "tensor": 1}
    assert [{device.id for device in half.flat} for half in np.split(mesh.devices, 2)] == [{0, 1, 2, 3}, {4, 5, 6, 7}]


def test_only_data_spans_slices():
    with pytest.raises(ValueError, match=r"mesh.data is 1, but the devices are in 2 slices, which only data can span"):
        make_mesh(MeshConfig(data=1, fsdp=8, slices=2))


def test_every_parameter_has_a_name_for_each_dimension():
    model = jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    ranks = jax.tree.map(lambda leaf, names: leaf.ndim == len(names), model, parameter_axes(model))
    assert all(jax.tree.leaves(ranks))
    assert parameter_axes(model).encoder.blocks.attention.query.get_value() == ("layers", "embed", "heads", "head_dim")


def test_a_mesh_axis_that_does_not_divide_a_dimension_is_named_with_both_sizes():
    model = jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"mesh.tensor 8 does not divide the model's heads dimension of 3"):
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
    assert first["inputs"].sharding.spec == partition_spec(("batch",))
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
