# SPDX-License-Identifier: Apache-2.0
"""Where arrays live: the mesh, and the one table from parameter axis names to mesh axes.

The model never mentions devices. Each parameter names its dimensions; RULES says which mesh axis cuts a name, and
everything here follows from that.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from t5x_lite.config import MeshConfig

MESH_AXES = ("data", "fsdp", "tensor")

RULES: Mapping[str, str | None] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "buckets": None,
    "labels": None,
}

# Sequences of a batch are spread over both: `fsdp` cuts the parameters, and each part works on its own sequences.
BATCH_AXES = ("data", "fsdp")


def make_mesh(cfg: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Arranges the devices as `cfg` says.

    Raises:
      ValueError: if the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {axis: getattr(cfg, axis) for axis in MESH_AXES}
    shown = ", ".join(f"mesh.{axis} {size}" for axis, size in sizes.items())
    known = int(np.prod([size for size in sizes.values() if size != -1]))
    if -1 in sizes.values():
        if len(devices) % known:
            raise ValueError(
                f"{shown}: {known} does not divide the {len(devices)} devices there are, so -1 cannot be filled in"
            )
        sizes = {axis: len(devices) // known if size == -1 else size for axis, size in sizes.items()}
    elif known != len(devices):
        raise ValueError(
            f"{shown} ask for {known} devices, but there are {len(devices)}: set one of them to -1 to take what is left"
        )
    shape = tuple(sizes.values())
    return jax.make_mesh(shape, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES), devices=devices)


def parameter_axes(model: nnx.Module) -> Any:
    """Returns a tree like `model` with a tuple of axis names for each parameter, `layers` first where stacked."""

    def axes(param: nnx.Variable) -> nnx.Variable:
        names = param.get_metadata()["axes"]
        return param.replace(("layers",) * (len(param.shape) - len(names)) + names)

    return jax.tree.map(axes, model, is_leaf=lambda node: isinstance(node, nnx.Variable))


def partition_spec(axes: tuple[str | None, ...]) -> PartitionSpec:
    """Returns how an array with these axis names is cut."""
    return PartitionSpec(*(None if name is None else RULES[name] for name in axes))


def shardings(mesh: Mesh, shapes: Any, axes: Any) -> Any:
    """Returns a tree of shardings for a tree of shapes and its tree of axis names.

    Raises:
      ValueError: if a mesh axis does not divide a dimension it cuts.
    """

    def sharding(leaf: jax.ShapeDtypeStruct, names: tuple[str | None, ...]) -> NamedSharding:
        spec = partition_spec(names)
        for size, name, mesh_axis in zip(leaf.shape, names, spec, strict=True):
            if mesh_axis is not None and size % mesh.shape[mesh_axis]:
                raise ValueError(
                    f"mesh.{mesh_axis} is {mesh.shape[mesh_axis]}, which does not divide the model's {name} "
                    f"dimension of {size}: change one of them"
                )
        return NamedSharding(mesh, spec)

    return jax.tree.map(sharding, shapes, axes)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose first dimension is the batch."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch_size(mesh: Mesh, batch_size: int, num_microbatches: int = 1) -> None:
    """Raises ValueError unless each microbatch can be spread evenly over the mesh."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % (parts * num_microbatches):
        raise ValueError(
            f"train.batch_size is {batch_size}, which is not divisible by mesh.data * mesh.fsdp * "
            f"train.num_microbatches = {mesh.shape['data']} * {mesh.shape['fsdp']} * {num_microbatches} = "
            f"{parts * num_microbatches}: use a multiple of it"
        )


def local_rows(mesh: Mesh, batch_size: int) -> slice:
    """Returns the contiguous rows of a global batch that this process has to supply."""
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    slices = [index[0] for index in indices if index is not None]
    rows = [row for part in slices for row in (part.start or 0, part.stop or batch_size)]
    return slice(min(rows), max(rows))


def device_batches(batches: Iterator[Mapping[str, np.ndarray]], mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    """Moves batches to the mesh, one ahead, so that a step never waits for its transfer."""
    sharding = batch_sharding(mesh)

    def transfer(batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}

    ahead = None
    for batch in batches:
        transferred = transfer(batch)
        if ahead is not None:
            yield ahead
        ahead = transferred
    if ahead is not None:
        yield ahead
