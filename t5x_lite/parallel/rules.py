# SPDX-License-Identifier: Apache-2.0
"""The one table from the names of dimensions to mesh axes, and what follows from it inside a program.

The model never mentions devices: its parameters name their dimensions, and so do the few activations that a compiler
would otherwise cut in a way that costs memory or traffic.
"""

import math
from collections.abc import Mapping

import jax
from jax.sharding import PartitionSpec

MESH_AXES = ("data", "fsdp", "context", "tensor")

Cut = tuple[str, ...]

RULES: Mapping[str, Cut] = {
    # of parameters
    "layers": (),
    "vocab": ("tensor",),
    "embed": ("fsdp", "context"),  # gathered, a layer at a time, where it is used
    "heads": ("tensor",),
    "head_dim": (),
    "mlp": ("tensor",),
    "buckets": (),
    "labels": (),
    # of activations
    "batch": ("data", "fsdp"),
    "lookup_batch": ("data",),
    "tokens": ("context",),
    # Between the layers' products nothing needs all tokens or all of D: norms and sums are done on parts of the tokens.
    "residual_tokens": ("context", "tensor"),
}


def partition_spec(names: tuple[str | None, ...]) -> PartitionSpec:
    """Returns how an array with these dimensions is cut; None is a dimension that stays whole."""
    return PartitionSpec(*(None if name is None else RULES[name] or None for name in names))


def constrain(array: jax.Array, *names: str | None) -> jax.Array:
    """Asks the compiler to cut an array over the mesh of `jax.set_mesh` as RULES says; without one, does nothing.

    Args:
      array: any.
      names: of its dimensions, None for one that is to be whole. A dimension that its mesh axes do not divide stays
        whole, too.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return array
    cuts = [() if name is None else tuple(axis for axis in RULES[name] if axis in mesh.shape) for name in names]
    spec = (
        cut if size % math.prod(mesh.shape[axis] for axis in cut) == 0 else None
        for size, cut in zip(array.shape, cuts, strict=True)
    )
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*spec))


def gathered(kernel: jax.Array, *names: str | None) -> jax.Array:
    """Asks for the parts of a parameter that `fsdp` cut, for use in a product; other axes cut it still."""
    return constrain(kernel, *(None if name == "embed" else name for name in names))
