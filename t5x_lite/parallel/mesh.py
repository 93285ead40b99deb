# SPDX-License-Identifier: Apache-2.0
"""The device mesh, and the shardings of parameters, optimizer state and batches that `rules.RULES` define."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from t5x_lite.config import MeshConfig
from t5x_lite.parallel.rules import MESH_AXES, RULES, partition_spec


def make_mesh(cfg: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the mesh of a run, in which only `data`, the slowest axis, spans several slices.

    Args:
      cfg: the sizes of the mesh.
      devices: the devices to use; None uses all.

    Raises:
      ValueError: if the product of the sizes is not the number of devices, or the sizes do not match the slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    slices = [devices]
    if cfg.slices is not None or any(getattr(device, "slice_index", 0) for device in devices):
        from t5x_lite.parallel.slices import by_slice

        slices = by_slice(devices, cfg.slices)
    shape = mesh_shape(cfg, len(devices))
    if shape[0] % len(slices):
        raise ValueError(
            f"mesh.data is {shape[0]}, but the devices are in {len(slices)} slices, which only data can span: use a "
            f"multiple of {len(slices)}"
        )
    shape = (shape[0] // len(slices), *shape[1:])
    # Uses whole axes of the torus if possible, but fsdp 512 and data 8 on 16 x 16 x 16 chips, say, must split one.
    parts = [mesh_utils.create_device_mesh(shape, part, allow_split_physical_axes=True) for part in slices]
    return Mesh(np.concatenate(parts), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def mesh_shape(cfg: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Returns the sizes of MESH_AXES; raises ValueError unless their product is the number of devices."""
    sizes = {axis: getattr(cfg, axis) for axis in MESH_AXES}
    shown = ", ".join(f"mesh.{axis} {size}" for axis, size in sizes.items())
    known = math.prod(size for size in sizes.values() if size != -1)
    if -1 in sizes.values():
        if num_devices % known:
            raise ValueError(
                f"{shown}: {known} does not divide the number of devices, {num_devices}, so -1 cannot be resolved"
            )
        sizes = {axis: num_devices // known if size == -1 else size for axis, size in sizes.items()}
    elif known != num_devices:
        raise ValueError(
            f"{shown} need {known} devices, but there are {num_devices}: set one of them to -1 to use all devices"
        )
    return tuple(sizes.values())


def parameter_axes(model: nnx.Module) -> Any:
    """Returns a pytree like `model` with each parameter's axis names, prefixed with `layers` if it is stacked."""

    def axes(param: nnx.Variable) -> nnx.Variable:
        names = param.get_metadata()["axes"]
        return param.replace(("layers",) * (len(param.shape) - len(names)) + names)

    return jax.tree.map(axes, model, is_leaf=lambda node: isinstance(node, nnx.Variable))


def shardings(mesh: Mesh, shapes: Any, axes: Any) -> Any:
    """Returns the shardings of a pytree of shapes by axis names; raises ValueError if a dimension is not divisible."""

    def sharding(leaf: jax.ShapeDtypeStruct, names: tuple[str | None, ...]) -> NamedSharding:
        for size, name in zip(leaf.shape, names, strict=True):
            check_divides(mesh, name, size)
        return NamedSharding(mesh, partition_spec(names))

    return jax.tree.map(sharding, shapes, axes)


def check_divides(mesh: Mesh, name: str | None, size: int) -> None:
    """Raises ValueError unless a dimension's size is divisible by the mesh axes that shard it."""
    axes = [axis for axis in RULES[name] if mesh.shape[axis] > 1] if name else []
    if size % math.prod(mesh.shape[axis] for axis in axes):
        shown = " x ".join(f"mesh.{axis} {mesh.shape[axis]}" for axis in axes)
        raise ValueError(f"{shown} does not divide the model's {name} dimension of {size}: change one of them")


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays replicated on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose first dimension is the batch."""
    return NamedSharding(mesh, partition_spec(("batch",)))


def check_batch_size(mesh: Mesh, batch_size: int, num_microbatches: int = 1) -> None:
    """Raises ValueError unless each microbatch can be sharded evenly over the mesh."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % (parts * num_microbatches):
        raise ValueError(
            f"train.batch_size is {batch_size}, which is not divisible by mesh.data * mesh.fsdp * "
            f"train.num_microbatches = {mesh.shape['data']} * {mesh.shape['fsdp']} * {num_microbatches} = "
            f"{parts * num_microbatches}: use a multiple"
        )


def local_rows(mesh: Mesh, batch_size: int) -> slice:
    """Returns the contiguous rows of a global batch that this process supplies."""
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    slices = [index[0] for index in indices if index is not None]
    rows = [row for part in slices for row in (part.start or 0, part.stop or batch_size)]
    return slice(min(rows), max(rows))


def device_batches(batches: Iterator[Mapping[str, np.ndarray]], mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    """Transfers batches to the mesh, prefetching one so that steps do not wait for transfers."""
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
