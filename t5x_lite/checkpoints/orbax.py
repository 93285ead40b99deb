# SPDX-License-Identifier: Apache-2.0
"""A run's checkpoints: trees of arrays and JSON metadata, saved through Orbax; `restoring` reads them.

A checkpoint is a directory `STEP/` with a subdirectory per item, which Orbax renames into place once it is complete.
Trees are stored as nested dictionaries, so that reading them does not need the classes that wrote them.
"""

import json
import logging
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from t5x_lite.files.full_disk import FULL
from t5x_lite.files.messages import first_line
from t5x_lite.parallel.param_paths import named_leaves, to_pure_dict

META, SHAPES, CHECKSUMS = "meta", "shapes", "checksums"
DIGEST = "digest"  # key in META of the checksum of all metadata, which checkpoints of early versions lack
TOKENIZER = "tokenizer"  # key in META of the checksums of the run's tokenizer files
BFLOAT16 = "bfloat16"  # key in META of the paths of bfloat16 arrays; counts are int32, all others float32

# Orbax lets each device write a part of a replicated array, and compiles a slice per device. This pays off only for
# large arrays: with small ones, a run of eight steps on 8 CPU devices took 41 seconds instead of 26.
MIN_SHARED_WRITE = 2**22  # bytes per device
METADATA_BYTES = 2**20  # of Orbax's descriptions of the arrays, and of directories


def shapes(tree: Any) -> dict[str, list[int]]:
    """Returns the shapes of a tree's arrays by path."""
    return {name: list(leaf.shape) for name, leaf in named_leaves(tree).items()}


def checksums(tree: Any) -> dict[str, int]:
    """Returns a checksum of each array by path: the sum of its bits as integers, which is independent of sharding."""
    return {name: int(total) for name, total in jax.device_get(_bit_sums(named_leaves(tree))).items()}


def digest(facts: Mapping[str, Any]) -> int:
    """Returns a checksum of a checkpoint's metadata, by item."""
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


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


class Checkpoints:
    """The checkpoints in a directory.

    Args:
      keep: the number of newest checkpoints to keep, beside the one whose step `spare` returns, given all steps in
        order; None opens the directory read-only.
    """

    spare: Callable[[list[int]], int | None] | None = None

    def __init__(self, directory: pathlib.Path, *, keep: int | None = None):
        self.directory, self._num_newest = directory.absolute(), keep or 0
        writes = keep is not None  # otherwise a reader would delete what another process is writing
        policy = self if writes else None
        if writes:
            logging.getLogger("absl").addFilter(_is_not_raised)  # once
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, cleanup_tmp_directories=writes, create=writes
        )
        self.manager = ocp.CheckpointManager(self.directory, options=options, handler_registry=_handlers())

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete checkpoint, or None."""
        return self.manager.latest_step()

    def steps(self) -> list[int]:
        """Returns the steps of the complete checkpoints, in order."""
        return sorted(self.manager.all_steps())

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns which checkpoints to keep, as a policy of Orbax's, in the order of their steps."""
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        spared = self.spare(steps) if self.spare and len(steps) > self._num_newest else None
        return [step == spared or step in steps[-self._num_newest :] for step in steps]

    def save(self, step: int, items: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Copies trees of arrays and writes them in the background, once the previous write is done.

        Raises:
          OSError: if this checkpoint or the previous one cannot be written.
        """
        self._check_space(items)
        narrow = [name for name, leaf in named_leaves(items).items() if leaf.dtype == jnp.bfloat16]
        facts = {META: dict(meta) | ({BFLOAT16: narrow} if narrow else {}), SHAPES: shapes(items)}
        facts[CHECKSUMS] = checksums(items)
        facts[META][DIGEST] = digest(facts)
        args: dict[str, Any] = {name: ocp.args.PyTreeSave(to_pure_dict(tree)) for name, tree in items.items()}
        args |= {name: ocp.args.JsonSave(fact) for name, fact in facts.items()}
        self._write(lambda: self.manager.save(step, args=ocp.args.Composite(**args)))

    def wait(self) -> None:
        """Waits until all checkpoints are on disk; raises OSError if a write failed."""
        self._write(self.manager.wait_until_finished)

    def close(self) -> None:
        """Waits for pending writes and stops the writer threads."""
        self._write(self.manager.close)

    def _check_space(self, items: Mapping[str, Any]) -> None:
        """Raises OSError if this process's shards do not fit on disk, before Orbax prints many tracebacks."""
        shards = [shard for leaf in jax.tree.leaves(dict(items)) for shard in leaf.addressable_shards]
        needed = METADATA_BYTES + sum(shard.data.nbytes for shard in shards if shard.replica_id == 0)
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
            full = (os.strerror(code) for code in FULL if os.strerror(code) in str(error))
            raise OSError(
                f"cannot write a checkpoint to {self.directory}: {next(full, first_line(error))}. "
                "Earlier checkpoints are intact; free some space or correct the permissions and run again"
            ) from error


def _is_not_raised(record: logging.LogRecord) -> bool:
    """Leaves out what Orbax's threads log, with tracebacks, of an error that Orbax also raises."""
    return not re.search(r"_SignalingThread.run\(\)|^\[process=\S+ Failed to run|Save Finalize thread", str(record.msg))
