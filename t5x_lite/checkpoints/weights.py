# SPDX-License-Identifier: Apache-2.0
"""From the weights of a directory, of whichever form, to arrays on devices; each device reads its own part."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from t5x_lite.checkpoints.arrays import Index, checked_index
from t5x_lite.config import ModelConfig
from t5x_lite.model.architectures import abstract
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

Read = Callable[[str, Index], np.ndarray]  # of a parameter's name and a slice for each dimension: that part, float32


class Weights(Protocol):
    """A model on disk."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers on disk."""
        ...

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a parameter, float32.

        Args:
          name: of the parameter, here.
          index: a slice with a start and a stop for each of its dimensions.
        """
        ...


def model_of(weights: Weights, shapes: Any = None) -> Any:
    """Returns the model.

    Args:
      weights: an encoder-decoder's, unless shapes are given.
      shapes: a model of `jax.ShapeDtypeStruct` whose shardings say where the parameters go. None puts all on the
        default device.
    """
    shapes = abstract(weights.config) if shapes is None else shapes
    leaves = named_leaves(shapes)
    return from_named_leaves(shapes, read_arrays(weights.read, leaves, {name: name for name in leaves}))


def read_arrays(
    read: Read, leaves: Mapping[str, jax.ShapeDtypeStruct], sources: Mapping[str, str]
) -> dict[str, jax.Array]:
    """Returns arrays by name.

    Args:
      read: from disk.
      leaves: shapes, with shardings or, for the default device, without.
      sources: what `read` calls each.
    """

    def array(name: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        parts: dict[tuple[tuple[int, int], ...], np.ndarray] = {}

        def part(index: Index | None) -> np.ndarray:
            filled = checked_index(index, leaf.shape, name)
            key = tuple((cut.start, cut.stop) for cut in filled)
            if key not in parts:  # devices that hold the same part read it once
                parts[key] = read(sources[name], filled)
            return parts[key]

        if leaf.sharding is None:
            return jax.device_put(part(None))
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, part)

    return {name: array(name, leaf) for name, leaf in leaves.items()}


def reader(model: Any) -> Read:
    """Returns what reads parts of a model's parameters that are in memory."""
    leaves = named_leaves(model)
    return lambda name, index: np.asarray(leaves[name][index])
