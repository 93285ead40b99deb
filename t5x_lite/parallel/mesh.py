# SPDX-License-Identifier: Apache-2.0
"""Where arrays live: the mesh, and what `axes.RULES` makes of it for parameters, optimizer state and batches."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from t5x_lite.config import MeshConfig
from t5x_lite.parallel.param_paths import named_leaves
from t5x_lite.parallel.rules import MESH_AXES, RULES, partition_spec

# What may be whole on every device: vectors and tables of a few numbers a layer are, by design.
MOST_WHOLE_SHARE, MOST_WHOLE_BYTES = 0.02, 2**24


def make_mesh(cfg: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Arranges the devices as `cfg` says; what is cut over slices is `data` alone, its slowest axis.

    Args:
      cfg: how.
      devices: which; None takes all there are.

    Raises:
      ValueError: if the sizes do not multiply to the number of devices, or do not suit their slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    slices = by_slice(devices, cfg.slices)
    shape = mesh_shape(cfg, len(devices))
    if shape[0] % len(slices):
        raise ValueError(
            f"mesh.data is {shape[0]}, and the devices are in {len(slices)} slices, over which nothing but data is "
            "cut: use a multiple of them"
        )
    shape = (shape[0] // len(slices), *shape[1:])
    # Whole axes of a torus where that can be: fsdp 512 and data 8 of 16 x 16 x 16 chips cannot, and cut one in two.
    parts = [mesh_utils.create_device_mesh(shape, part, allow_split_physical_axes=True) for part in slices]
    return Mesh(np.concatenate(parts), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def mesh_shape(cfg: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Returns how many devices there are along each of MESH_AXES.

    Raises:
      ValueError: if the sizes do not multiply to the number of devices.
    """
    sizes = {axis: getattr(cfg, axis) for axis in MESH_AXES}
    shown = ", ".join(f"mesh.{axis} {size}" for axis, size in sizes.items())
    known = math.prod(size for size in sizes.values() if size != -1)
    if -1 in sizes.values():
        if num_devices % known:
            raise ValueError(
                f"{shown}: {known} does not divide the {num_devices} devices there are, so -1 cannot be filled in"
            )
        sizes = {axis: num_devices // known if size == -1 else size for axis, size in sizes.items()}
    elif known != num_devices:
        raise ValueError(
            f"{shown} ask for {known} devices, but there are {num_devices}: set one of them to -1 to take what is left"
        )
    return tuple(sizes.values())


def by_slice(devices: Sequence[Any], num_slices: int | None = None) -> list[list[Any]]:
    """Returns the devices of each slice: a part of a pod, or a host, whose own network is the fast one.

    Args:
      devices: all.
      num_slices: how many; None is what the devices say, and one if they say nothing.

    Raises:
      ValueError: if there are not so many, all of one size.
    """
    told: dict[int, list[Any]] = {}
    for device in devices:
        told.setdefault(getattr(device, "slice_index", 0) or 0, []).append(device)
    slices = [told[index] for index in sorted(told)]
    if num_slices is not None and len(slices) == 1:  # devices that do not know of slices are cut as they come
        slices = [list(part) for part in np.array_split(np.array(devices, object), num_slices)]
    if num_slices not in (None, len(slices)) or len({len(part) for part in slices}) > 1:
        raise ValueError(
            f"mesh.slices is {num_slices}, and the {len(devices)} devices are in slices of "
            f"{', '.join(str(len(part)) for part in slices)}: leave mesh.slices out, or use as many as there are"
        )
    return slices


def parameter_axes(model: nnx.Module) -> Any:
    """Returns a tree like `model` with a tuple of axis names for each parameter, `layers` first where stacked."""

    def axes(param: nnx.Variable) -> nnx.Variable:
        names = param.get_metadata()["axes"]
        return param.replace(("layers",) * (len(param.shape) - len(names)) + names)

    return jax.tree.map(axes, model, is_leaf=lambda node: isinstance(node, nnx.Variable))


def shardings(mesh: Mesh, shapes: Any, axes: Any) -> Any:
    """Returns a tree of shardings for a tree of shapes and its tree of axis names.

    Raises:
      ValueError: if a mesh axis does not divide a dimension it cuts.
    """

    def sharding(leaf: jax.ShapeDtypeStruct, names: tuple[str | None, ...]) -> NamedSharding:
        for size, name in zip(leaf.shape, names, strict=True):
            check_divides(mesh, name, size)
        return NamedSharding(mesh, partition_spec(names))

    return jax.tree.map(sharding, shapes, axes)


def check_cut(shapes: Any, mesh: Mesh) -> None:
    """Raises ValueError if a mesh that could cut arrays leaves much of them whole on every device.

    Args:
      shapes: of `jax.ShapeDtypeStruct` with shardings.
      mesh: the devices.
    """
    if all(mesh.shape[axis] == 1 for axis in MESH_AXES if axis != "data"):
        return
    sizes = {name: math.prod(leaf.shape) * leaf.dtype.itemsize for name, leaf in named_leaves(shapes).items()}
    whole = {name: sizes[name] for name, leaf in named_leaves(shapes).items() if leaf.sharding.is_fully_replicated}
    share = sum(whole.values()) / sum(sizes.values())
    if sum(whole.values()) > MOST_WHOLE_BYTES and share > MOST_WHOLE_SHARE:
        largest = max(whole, key=lambda name: whole[name])
        raise ValueError(
            f"mesh {dict(mesh.shape)} leaves {share:.0%} of the parameters and the optimizer's state whole on every "
            f"device, the largest of them {largest}: cut over fsdp or tensor, or name its dimensions in axes.RULES"
        )


def check_divides(mesh: Mesh, name: str | None, size: int) -> None:
    """Raises ValueError unless the mesh axes that cut a dimension of the model divide it."""
    cut = [axis for axis in RULES[name] if mesh.shape[axis] > 1] if name else []
    if size % math.prod(mesh.shape[axis] for axis in cut):
        shown = " x ".join(f"mesh.{axis} {mesh.shape[axis]}" for axis in cut)
        raise ValueError(f"{shown} does not divide the model's {name} dimension of {size}: change one of them")


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose first dimension is the batch."""
    return NamedSharding(mesh, partition_spec(("batch",)))


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
