# SPDX-License-Identifier: Apache-2.0
"""Reads a run's checkpoints, which `orbax` wrote."""

import inspect
import logging
import math
import pathlib
import re
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax.traverse_util import unflatten_dict
from jax.sharding import SingleDeviceSharding

from t5x_lite.checkpoints.orbax import BFLOAT16, CHECKSUMS, DIGEST, META, SHAPES, Checkpoints, checksums, digest, shapes
from t5x_lite.files.messages import first_line
from t5x_lite.parallel.param_paths import from_pure_dict, named_leaves, to_pure_dict

OF_STEP = "_CHECKPOINT_METADATA"  # read of all checkpoints when their directory is opened
# Of files that Orbax reads whole; the descriptions of 10,000 parameters have 10 MB.
MAX_BYTES = dict.fromkeys((OF_STEP, "_METADATA", "_sharding", "metadata"), 2**26) | {"manifest.ocdbt": 2**24}


def restore(checkpoints: Checkpoints, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
    """Restores some items of a checkpoint onto devices.

    Args:
      items: trees of `jax.ShapeDtypeStruct` by name; the shardings may differ from the saved ones.

    Raises:
      ValueError: if the checkpoint is damaged or its shapes differ.
    """
    # Orbax would crop or pad an array to the requested shape, and does not detect corrupted values.
    facts = _facts(checkpoints, step)
    for name, shape in shapes(items).items():
        saved = facts[SHAPES]
        if saved.get(name) != shape:
            raise ValueError(
                f"checkpoint {checkpoints.directory / str(step)} has {name} of shape {saved.get(name)}, not {shape}: "
                "it belongs to another model or optimizer; name the run that saved it"
            )
    trees = {}
    for name, tree in items.items():
        args = ocp.args.Composite(**{name: _restore_args(to_pure_dict(tree))})
        try:
            restored = read_quietly(name, lambda args=args: checkpoints.manager.restore(step, args=args))
        except ValueError as error:
            raise _damaged(checkpoints, step, error) from error
        trees[name] = from_pure_dict(tree, restored[name])
    for name, checksum in checksums(trees).items():
        if checksum != facts[CHECKSUMS][name]:
            raise _damaged(checkpoints, step, f"the checksum of its {name} does not match")
    return trees


def meta(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """Returns a checkpoint's metadata; raises ValueError if it is damaged."""
    return _facts(checkpoints, step)[META]


def has_item(checkpoints: Checkpoints, step: int, item: str) -> bool:
    """Returns whether a checkpoint has arrays of an item; raises ValueError if it is damaged."""
    return any(name.startswith(f"{item}/") for name in _facts(checkpoints, step)[SHAPES])


def read_facts(checkpoint: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns the metadata in a checkpoint's directory, by item; raises ValueError with the reason if it is damaged."""
    check_files(checkpoint)
    reader: Any = ocp.JsonCheckpointHandler()  # which takes other paths, too, than its annotation says
    facts = {
        item: read_quietly(item, lambda item=item: reader.restore(checkpoint / item))
        for item in (META, SHAPES, CHECKSUMS)
    }
    for item, fact in facts.items():
        if not isinstance(fact, dict):
            raise ValueError(f"its {item} cannot be read")
    recorded = facts[META].pop(DIGEST, None)
    if facts[SHAPES].keys() != facts[CHECKSUMS].keys() or recorded not in (None, digest(facts)):
        raise ValueError(f"the checksum of its {META}, {SHAPES} and {CHECKSUMS} does not match")
    return facts


def check_files(checkpoint: pathlib.Path, pattern: str = "**/*") -> None:
    """Raises ValueError for a file that Orbax would read without end: a device, a pipe, or far too large a description.

    Links to files are followed, because a checkpoint may be put together from links.
    """
    for path in checkpoint.glob(pattern):
        name = path.relative_to(checkpoint)
        try:
            state = path.stat()
        except OSError as error:
            raise ValueError(f"its {name} cannot be read ({error.strerror})") from error
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
            raise ValueError(f"its {name} is not a file")
        if state.st_size > MAX_BYTES.get(path.name, math.inf):
            raise ValueError(f"its {name} has {state.st_size:,} bytes, more than any such file")


def read_quietly(item: str, read: Callable[[], Any]) -> Any:
    """Reads an item of a checkpoint; raises ValueError with the reason if it cannot be read."""
    heard = sys.unraisablehook
    sys.unraisablehook = heard if isinstance(heard, _Hushed) else _Hushed(heard)
    try:
        found = read()
    except Exception as error:  # Orbax raises whatever its storage layers raise
        # TensorStore's messages go on for pages after a code such as DATA_LOSS.
        detail = first_line(error).partition(": Error")[0] if isinstance(error, (OSError, ValueError)) else ""
        reason = f"its {item} cannot be read{f' ({detail})' if detail else ''}"
    else:
        sys.unraisablehook = heard
        return found
    logging.getLogger("asyncio").addFilter(_is_not_leftover)
    raise ValueError(reason)


class _Hushed(NamedTuple):
    """Leaves out the complaints of reads that outlive Orbax's event loop, which would follow our message."""

    hook: Callable[[Any], object]

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed" and not inspect.iscoroutine(unraisable.object):
            self.hook(unraisable)


def _is_not_leftover(record: logging.LogRecord) -> bool:
    return not re.match("Task exception was never|Task was destroyed|_GatheringFuture exception was", str(record.msg))


def arrays(checkpoints: Checkpoints, step: int, item: str) -> dict[str, Any]:
    """Returns an item's arrays by path, on the default device, without knowing its tree."""
    facts = _facts(checkpoints, step)
    narrow = facts[META].get(BFLOAT16, ())
    place = SingleDeviceSharding(jax.local_devices()[0])
    leaves: dict[tuple[str, ...], jax.ShapeDtypeStruct] = {}
    for path, shape in facts[SHAPES].items():
        first, *names = path.split("/")
        if first == item:
            dtype = jnp.int32 if names[-1] == "count" else jnp.bfloat16 if path in narrow else jnp.float32
            # Nested in a node `value` like a Flax variable, because a parameter named "value" would lose its name.
            leaves[(*names, "value")] = jax.ShapeDtypeStruct(shape, dtype, sharding=place)
    return named_leaves(restore(checkpoints, step, {item: unflatten_dict(leaves)})[item])


def _restore_args(pure: dict[str, Any]) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(pure, restore_args=ocp.checkpoint_utils.construct_restore_args(pure))


def _facts(checkpoints: Checkpoints, step: int) -> dict[str, dict[str, Any]]:
    try:
        return read_facts(checkpoints.directory / str(step))
    except ValueError as error:
        raise _damaged(checkpoints, step, error) from error


def _damaged(checkpoints: Checkpoints, step: int, reason: object) -> ValueError:
    from t5x_lite.checkpoints.whole import describe_whole

    directory = checkpoints.directory
    return ValueError(f"checkpoint {directory / str(step)} is damaged: {reason}. {describe_whole(directory, step)}")
