# SPDX-License-Identifier: Apache-2.0
"""Sharding rules: the table from logical axis names to mesh axes, and constraints inside of programs that follow it.

The model never mentions devices. Parameters name their dimensions, and so do the few activations that XLA would
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
    "embed": ("fsdp", "context"),  # gathered one layer at a time, where it is used
    "heads": ("tensor",),
    "head_dim": (),
    "mlp": ("tensor",),
    "buckets": (),
    "labels": (),
    # Activations
    "batch": ("data", "fsdp"),
    "lookup_batch": ("data",),
    "tokens": ("context",),
    # Norms and residual sums need neither all tokens nor all of D, so `tensor` shards the tokens there.
    "residual_tokens": ("context", "tensor"),
}


def partition_spec(names: tuple[str | None, ...]) -> PartitionSpec:
    """Returns the sharding of an array by the names of its dimensions; None leaves a dimension unsharded."""
    return PartitionSpec(*(None if name is None else RULES[name] or None for name in names))


def constrain(array: jax.Array, *names: str | None) -> jax.Array:
    """Constrains an array's sharding over the mesh of `jax.set_mesh`; does nothing without a mesh.

    Args:
      array: any array.
      names: the names of its dimensions; None leaves a dimension unsharded, as do mesh axes that do not divide it.
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


def gather_fsdp(kernel: jax.Array, *names: str | None) -> jax.Array:
    """Gathers a parameter over `fsdp` and `context` for use in a product; `tensor` still shards it."""
    return constrain(kernel, *(None if name == "embed" else name for name in names))
