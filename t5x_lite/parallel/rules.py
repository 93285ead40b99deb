# SPDX-License-Identifier: Apache-2.0
"""Sharding rules: the table from logical axis names to mesh axes, and the sharding constraints that follow it.

Models never mention devices: they name the dimensions of parameters, and of the few activations that XLA would
otherwise shard at a cost in memory or traffic.
"""

import math
from collections.abc import Mapping

import jax
from jax.sharding import PartitionSpec

MESH_AXES = ("data", "fsdp", "context", "tensor")

RULES: Mapping[str, tuple[str, ...]] = {
    # Parameters
    "layers": (),
    "vocab": ("tensor",),
    "embed": ("fsdp", "context"),  # gathered one layer at a time, where used
    "heads": ("tensor",),
    "head_dim": (),
    "mlp": ("tensor",),
    "buckets": (),
    "labels": (),
    # Activations
    "batch": ("data", "fsdp"),
    "lookup_batch": ("data",),
    "bias_copies": ("data", "fsdp", "context"),
    "tokens": ("context",),
    # Norms and residual sums are independent per token, so `tensor` shards the tokens there.
    "residual_tokens": ("context", "tensor"),
}


def partition_spec(names: tuple[str | None, ...]) -> PartitionSpec:
    """Returns the sharding of an array with these dimension names; None leaves a dimension unsharded."""
    return PartitionSpec(*(None if name is None else RULES[name] or None for name in names))


def constrain(array: jax.Array, *names: str | None) -> jax.Array:
    """Constrains an array's sharding over the mesh of `jax.set_mesh`, if any.

    A dimension named None, or not divisible by its mesh axes, is left unsharded.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return array
    axes = [() if name is None else tuple(axis for axis in RULES[name] if axis in mesh.shape) for name in names]
    spec = (
        used if size % math.prod(mesh.shape[axis] for axis in used) == 0 else None
        for size, used in zip(array.shape, axes, strict=True)
    )
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*spec))


def axis_size(name: str) -> int:
    """Returns over how many devices of the mesh, if any, a dimension of this name is sharded."""
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(mesh.shape.get(axis, 1) for axis in RULES[name])


def gather_fsdp(kernel: jax.Array, *names: str | None) -> jax.Array:
    """Gathers a parameter over `fsdp` and `context`, to use it in a product; `tensor` still shards it."""
    return constrain(kernel, *(None if name == "embed" else name for name in names))
