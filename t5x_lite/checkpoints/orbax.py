# SPDX-License-Identifier: Apache-2.0
"""A run's checkpoints: trees of arrays and JSON metadata, saved and restored through Orbax.

A checkpoint is a directory `STEP/` with a subdirectory per item, which Orbax renames into place once it is complete.
Trees are stored as nested dictionaries, so that reading them does not need the classes that wrote them.
"""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import unflatten_dict
from jax.sharding import SingleDeviceSharding

from t5x_lite.files.messages import first_line
from t5x_lite.parallel.param_paths import from_pure_dict, named_leaves, to_pure_dict

META, SHAPES, CHECKSUMS = "meta", "shapes", "checksums"
BFLOAT16 = "bfloat16"  # key in META of the paths of bfloat16 arrays; counts are int32, all others float32

# Orbax lets each device write a part of a replicated array, and compiles a slice per device. This pays off only for
# large arrays: with small ones, a run of eight steps on 8 CPU devices took 41 seconds instead of 26.
MIN_SHARED_WRITE = 2**22  # bytes per device


def shapes(tree: Any) -> dict[str, list[int]]:
    """Returns the shapes of a tree's arrays by path."""
    return {name: list(leaf.shape) for name, leaf in named_leaves(tree).items()}


def checksums(tree: Any) -> dict[str, int]:
    """Returns a checksum of each array by path: the sum of its bits as integers, which is independent of sharding."""
    return {name: int(total) for name, total in jax.device_get(_bit_sums(named_leaves(tree))).items()}


# One program for all arrays: separate ones, each waiting for all devices, can deadlock on CPU.
@jax.jit
def _bit_sums(arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    def bit_sum(array: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}")
        return jnp.sum(bits, dtype=jnp.uint32)

    return jax.tree.map(bit_sum, arrays)


def _handlers() -> ocp.handlers.DefaultCheckpointHandlerRegistry:
    arrays = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=MIN_SHARED_WRITE)
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
    """The checkpoints in a directory.

    Args:
      keep: the number of newest checkpoints to keep; None opens the directory read-only.
    """

    def __init__(self, directory: pathlib.Path, *, keep: int | None = None):
        self.directory = directory.absolute()
        writes = keep is not None  # otherwise a reader would delete what another process is writing
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=writes, create=writes)
        self._manager = ocp.CheckpointManager(self.directory, options=options, handler_registry=_handlers())

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, items: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Copies trees of arrays and writes them in the background, once the previous write is done.

        Raises:
          OSError: if this checkpoint or the previous one cannot be written.
        """
        self._check_space(items)
        narrow = [name for name, leaf in named_leaves(items).items() if leaf.dtype == jnp.bfloat16]
        facts = {META: dict(meta) | ({BFLOAT16: narrow} if narrow else {}), SHAPES: shapes(items)}
        facts[CHECKSUMS] = checksums(items)
        args: dict[str, Any] = {name: ocp.args.PyTreeSave(to_pure_dict(tree)) for name, tree in items.items()}
        args |= {name: ocp.args.JsonSave(fact) for name, fact in facts.items()}
        self._write(lambda: self._manager.save(step, args=ocp.args.Composite(**args)))

    def restore(self, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
        """Restores some items of a checkpoint onto devices.

        Args:
          items: trees of `jax.ShapeDtypeStruct` by name; the shardings may differ from the saved ones.

        Raises:
          ValueError: if the checkpoint is damaged or its shapes differ.
        """
        # Orbax would crop or pad an array to the requested shape, and does not detect corrupted values.
        facts = self._read(step, ocp.args.Composite(**dict.fromkeys((SHAPES, CHECKSUMS), ocp.args.JsonRestore())))
        for name, shape in shapes(items).items():
            saved = facts[SHAPES]
            if saved.get(name) != shape:
                raise ValueError(
                    f"checkpoint {self.directory / str(step)} has {name} of shape {saved.get(name)}, not {shape}: "
                    "it belongs to another model or optimizer; name the run that saved it"
                )
        args = {name: _restore_args(to_pure_dict(tree)) for name, tree in items.items()}
        restored = self._read(step, ocp.args.Composite(**args))
        arrays = {name: from_pure_dict(tree, restored[name]) for name, tree in items.items()}
        for name, checksum in checksums(arrays).items():
            if checksum != facts[CHECKSUMS][name]:
                raise self._damaged(step, f"the checksum of {name} does not match")
        return arrays

    def meta(self, step: int) -> dict[str, Any]:
        """Returns a checkpoint's metadata; raises ValueError if it is damaged."""
        return self._read(step, ocp.args.Composite(**{META: ocp.args.JsonRestore()}))[META]

    def arrays(self, step: int, item: str) -> dict[str, Any]:
        """Returns an item's arrays by path, on the default device, without knowing its tree."""
        saved = self._read(step, ocp.args.Composite(**{SHAPES: ocp.args.JsonRestore()}))[SHAPES]
        narrow = self.meta(step).get(BFLOAT16, ())
        place = SingleDeviceSharding(jax.local_devices()[0])
        leaves: dict[tuple[str, ...], jax.ShapeDtypeStruct] = {}
        for path, shape in saved.items():
            first, *names = path.split("/")
            if first == item:
                dtype = jnp.int32 if names[-1] == "count" else jnp.bfloat16 if path in narrow else jnp.float32
                # Nested in a node `value` like a Flax variable, because a parameter named "value" would lose its name.
                leaves[(*names, "value")] = jax.ShapeDtypeStruct(shape, dtype, sharding=place)
        return named_leaves(self.restore(step, {item: unflatten_dict(leaves)})[item])

    def wait(self) -> None:
        """Waits until all checkpoints are on disk; raises OSError if a write failed."""
        self._write(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits for pending writes and stops the writer threads."""
        self._manager.close()

    def _check_space(self, items: Mapping[str, Any]) -> None:
        """Raises OSError if this process's shards do not fit on disk, before Orbax prints many tracebacks."""
        shards = [shard for leaf in jax.tree.leaves(dict(items)) for shard in leaf.addressable_shards]
        needed = sum(shard.data.nbytes for shard in shards if shard.replica_id == 0)
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise OSError(
                f"cannot write a checkpoint of {needed / 1e6:,.0f} MB to {self.directory}: only {free / 1e6:,.0f} MB "
                "are free. Earlier checkpoints are intact; free some space and run again"
            )

    def _write(self, write: Any) -> None:
        try:
            write()
        except Exception as error:  # Orbax raises whatever its storage layers raise
            raise OSError(
                f"cannot write a checkpoint to {self.directory}: {first_line(error)}. "
                "Earlier checkpoints are intact; free some space or correct the permissions and run again"
            ) from error

    def _read(self, step: int, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:  # as above
            raise self._damaged(step, first_line(error)) from error

    def _damaged(self, step: int, reason: str) -> ValueError:
        return ValueError(
            f"cannot read checkpoint {self.directory / str(step)}: {reason}. "
            "If it is damaged, delete that directory to continue from the previous checkpoint"
        )
