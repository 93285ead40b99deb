# SPDX-License-Identifier: Apache-2.0
"""Saving and restoring any tree of arrays with a few facts beside it, through Orbax.

A checkpoint is a directory `STEP/` with an item a subdirectory: each item of arrays is a dictionary of dictionaries
with string keys, whatever the tree was in memory, so that a checkpoint can be read without the classes that wrote
it; `meta` is JSON. Orbax writes to a temporary name and renames, so a checkpoint is whole or absent.
"""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from t5x_lite.files.messages import first_line
from t5x_lite.parallel.param_paths import from_pure_dict, named_leaves, to_pure_dict

META, SHAPES, CHECKSUMS = "meta", "shapes", "checksums"
BFLOAT16 = "bfloat16"  # in META: the arrays that are; counts are int32, all others float32

# Where an array is on several devices, Orbax lets each write a part of it, and compiles a slice a device to do so. That
# pays for large arrays only: for small ones too, a run of eight steps on 8 CPU devices took 41 seconds and not 26.
SMALLEST_SHARED_WRITE = 2**22  # bytes a device


def shapes(tree: Any) -> dict[str, list[int]]:
    """Returns the shape of each array of a tree, by its path."""
    return {name: list(leaf.shape) for name, leaf in named_leaves(tree).items()}


def bfloat16_names(tree: Any) -> dict[str, list[str]]:
    """Returns what META says of a tree's arrays in bfloat16, if there are any: their paths."""
    names = [name for name, leaf in named_leaves(tree).items() if leaf.dtype == jnp.bfloat16]
    return {BFLOAT16: names} if names else {}


def checksums(tree: Any) -> dict[str, int]:
    """Returns for each array of a tree, by its path, the sum of its bits read as integers.

    Computed where the array is: a sum of integers does not depend on how the array is cut, and costs one pass.
    """
    return {name: int(total) for name, total in jax.device_get(_bit_sums(named_leaves(tree))).items()}


# One program: of one an array, each of which waits for all devices, a CPU's could wait for each other for ever.
@jax.jit
def _bit_sums(arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    def bit_sum(array: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}")
        return jnp.sum(bits, dtype=jnp.uint32)

    return jax.tree.map(bit_sum, arrays)


def _handlers() -> ocp.handlers.DefaultCheckpointHandlerRegistry:
    arrays = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=SMALLEST_SHARED_WRITE)
    handler = ocp.PyTreeCheckpointHandler(
        type_handler_registry=ocp.type_handlers.create_type_handler_registry(
            (jax.Array, arrays), (np.ndarray, ocp.type_handlers.NumpyHandler())
        )
    )
    handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
    handlers.add(None, ocp.args.PyTreeSave, handler)
    handlers.add(None, ocp.args.PyTreeRestore, handler)
    return handlers


def _restore_args(pure: dict[str, Any]) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(pure, restore_args=ocp.checkpoint_utils.construct_restore_args(pure))


class Checkpoints:
    """The checkpoints of one directory, of which the newest few are kept.

    Args:
      directory: made when the first checkpoint is saved.
      keep: how many of the newest to keep; None, for reading alone, leaves everything as it is.
    """

    def __init__(self, directory: pathlib.Path, *, keep: int | None = None):
        self.directory = directory.absolute()
        writes = keep is not None  # a reader would take what another process is writing for a leftover
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=writes, create=writes)
        self._manager = ocp.CheckpointManager(self.directory, options=options, handler_registry=_handlers())

    def latest_step(self) -> int | None:
        """Returns the step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, items: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Copies the arrays and writes them in the background; waits only for the write before this one.

        Args:
          step: names the checkpoint.
          items: trees of arrays by name.
          meta: facts that JSON can hold.

        Raises:
          OSError: if this checkpoint, or the one before, could not be written.
        """
        self._check_space(items)
        args = {name: ocp.args.PyTreeSave(to_pure_dict(tree)) for name, tree in items.items()}
        args |= {META: ocp.args.JsonSave(dict(meta) | bfloat16_names(items)), SHAPES: ocp.args.JsonSave(shapes(items))}
        args |= {CHECKSUMS: ocp.args.JsonSave(checksums(items))}
        self._written(lambda: self._manager.save(step, args=ocp.args.Composite(**args)))

    def restore(self, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
        """Reads some items of a checkpoint onto the devices.

        Args:
          step: of the checkpoint.
          items: for each name a tree of `jax.ShapeDtypeStruct`, whose shardings say where the arrays go; they may
            differ from those they were saved with.

        Raises:
          ValueError: if the checkpoint is damaged, or does not hold these shapes.
        """
        # Orbax would cut or pad an array to the shape asked for, and cannot tell that stored numbers have changed.
        facts = self._read(step, ocp.args.Composite(**dict.fromkeys((SHAPES, CHECKSUMS), ocp.args.JsonRestore())))
        for name, shape in shapes(items).items():
            saved = facts[SHAPES]
            if saved.get(name) != shape:
                raise ValueError(
                    f"checkpoint {self.directory / str(step)} holds {name} of shape {saved.get(name)}, not {shape}: "
                    "it was made by another model or optimizer; name the run it belongs to"
                )
        args = {name: _restore_args(to_pure_dict(tree)) for name, tree in items.items()}
        restored = self._read(step, ocp.args.Composite(**args))
        arrays = {name: from_pure_dict(tree, restored[name]) for name, tree in items.items()}
        for name, checksum in checksums(arrays).items():
            if checksum != facts[CHECKSUMS][name]:
                raise self._damaged(step, f"the numbers of {name} are not those that were saved")
        return arrays

    def meta(self, step: int) -> dict[str, Any]:
        """Returns the facts saved beside a checkpoint; raises ValueError if it is damaged."""
        return self._read(step, ocp.args.Composite(**{META: ocp.args.JsonRestore()}))[META]

    def arrays(self, step: int, item: str) -> dict[str, Any]:
        """Returns the arrays of an item by their paths, without the tree they were in; on the default device.

        Args:
          step: of the checkpoint.
          item: its name.

        Raises:
          ValueError: if it is damaged.
        """
        saved = self._read(step, ocp.args.Composite(**{SHAPES: ocp.args.JsonRestore()}))[SHAPES]
        narrow = self.meta(step).get(BFLOAT16, ())
        place = SingleDeviceSharding(jax.local_devices()[0])
        tree: dict[str, Any] = {}
        for path, shape in saved.items():
            first, *parents, name = path.split("/")
            if first == item:
                node = tree
                for parent in parents:
                    node = node.setdefault(parent, {})
                dtype = jnp.int32 if name == "count" else jnp.bfloat16 if path in narrow else jnp.float32
                # Below a node `value`, as of a variable: else a parameter with that name would be taken for one.
                node[name] = {"value": jax.ShapeDtypeStruct(shape, dtype, sharding=place)}
        return named_leaves(self.restore(step, {item: tree})[item])

    def wait(self) -> None:
        """Returns when everything saved is on disk; raises OSError if it could not be written."""
        self._written(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits for writes under way and ends the threads that make them."""
        self._manager.close()

    def _check_space(self, items: Mapping[str, Any]) -> None:
        """Raises OSError if this process's part cannot fit: found out while writing, it ends in many tracebacks."""
        shards = [shard for leaf in jax.tree.leaves(dict(items)) for shard in leaf.addressable_shards]
        needed = sum(shard.data.nbytes for shard in shards if shard.replica_id == 0)
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise OSError(
                f"cannot write a checkpoint of {needed / 1e6:,.0f} MB to {self.directory}: {free / 1e6:,.0f} MB are "
                "free. The checkpoints before it are whole; free some space and run again"
            )

    def _written(self, write: Any) -> None:
        try:
            write()
        except Exception as error:  # Orbax passes on whatever its storage layers raise
            raise OSError(
                f"cannot write a checkpoint to {self.directory}: {first_line(error)}. "
                "The checkpoints before it are whole; free some space or mend the permissions and run again"
            ) from error

    def _read(self, step: int, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:  # as above
            raise self._damaged(step, first_line(error)) from error

    def _damaged(self, step: int, reason: str) -> ValueError:
        return ValueError(
            f"cannot read checkpoint {self.directory / str(step)}: {reason}. "
            "If it is damaged, delete that directory to go on from the checkpoint before it"
        )
