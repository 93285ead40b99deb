"""Tests t5x_lite/parallel/rules.py on eight fake devices."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

from t5x_lite.config import MeshConfig
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh, parameter_axes
from t5x_lite.parallel.rules import constrain, gather_fsdp, partition_spec
from tests import tiny


def test_a_parameter_is_sharded_by_the_rules():
    assert partition_spec(("layers", "embed", "heads", "head_dim")) == PartitionSpec(
        None, ("fsdp", "context"), "tensor", None
    )
    assert partition_spec(("embed", "labels")) == PartitionSpec(("fsdp", "context"), None)
    assert partition_spec((None, "vocab")) == PartitionSpec(None, "tensor")


def test_fsdp_and_tensor_each_shard_every_matrix_of_the_model():
    model = jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    for names in jax.tree.leaves(parameter_axes(model), is_leaf=lambda node: isinstance(node, tuple)):
        cut = set(partition_spec(names)) - {None}
        if "embed" in names and len(set(names) - {"layers"}) > 1:
            assert cut == {("fsdp", "context"), "tensor"}, names
        else:  # a norm's scale, a position bias table
            assert cut <= {("fsdp", "context"), "tensor"}, names
            assert len(cut) == 1, names


def shard_shape(function, shape, mesh):
    """What a device has of what a function makes of an array."""
    with jax.set_mesh(mesh):
        result = jax.jit(function)(jnp.zeros(shape))
    return result.addressable_shards[0].data.shape


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [
        (MeshConfig(), (2, 12, 5)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (4, 6, 5)),
        (MeshConfig(data=2, fsdp=1, context=2, tensor=2), (8, 3, 5)),
    ],
)
def test_the_residual_stream_is_sharded_over_batch_and_tokens(cfg, expected):
    shape = shard_shape(lambda x: constrain(x, "batch", "residual_tokens", None), (16, 12, 5), make_mesh(cfg))
    assert shape == expected


def test_a_dimension_that_the_mesh_does_not_divide_stays_whole():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    assert shard_shape(lambda x: constrain(x, "batch", "residual_tokens", None), (6, 4, 5), mesh) == (6, 2, 5)


def test_a_kernel_gathered_over_fsdp_is_sharded_by_tensor_alone():
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    assert shard_shape(lambda x: constrain(x, "embed", "mlp"), (8, 6), mesh) == (2, 3)
    assert shard_shape(lambda x: gather_fsdp(x, "embed", "mlp"), (8, 6), mesh) == (8, 3)


def test_mesh_axes_that_are_missing_are_ignored():
    mesh = jax.make_mesh((4, 2), ("data", "expert"), axis_types=(AxisType.Auto,) * 2)
    assert shard_shape(lambda x: constrain(x, "batch", "mlp"), (8, 6), mesh) == (2, 6)


def test_nothing_is_constrained_without_a_mesh():
    x = jnp.zeros((8, 6))
    assert constrain(x, "batch", "mlp") is x
