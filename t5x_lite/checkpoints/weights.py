# SPDX-License-Identifier: Apache-2.0
"""Models whose parameters are read on demand; when they are loaded, each device reads only its shards."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding

from t5x_lite.checkpoints.arrays import Index, checked_index
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture, abstract
from t5x_lite.parallel.mesh import parameter_axes, shardings
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

if TYPE_CHECKING:
    from t5x_lite.model.sentence_head import SentenceHead

# Reads a slice of a parameter, in float32, given its name and a slice with start and stop for each dimension.
Read = Callable[[str, Index], np.ndarray]
Slots = Mapping[str, Mapping[str, np.ndarray]]  # by parameter: Adafactor's v_row, v_col, v and optionally m
Progress = Callable[[int], object]  # called with the number of bytes written since the last call
IGNORE: Progress = lambda num_bytes: None  # noqa: E731


@dataclasses.dataclass(frozen=True)
class LazyModel:
    """A validated model in a checkpoint of any format, whose parameters are read on demand.

    Args:
      tokenizer: the model's tokenizer; None if the checkpoint has none, like T5X's.
      step: the number of updates made; 0 if unknown.
      dtype: the dtype of the stored parameters.
      read_slots: reads the Adafactor state; None if there is none to continue from.
      head: what turns the encoder's output into an embedding; None if the checkpoint does not say.
      decoding: the decoding settings published with the model, under Hugging Face's names.
      restore: loads all parameters, given a tree of `jax.ShapeDtypeStruct`; faster than `read`.
    """

    config: ModelConfig
    architecture: Architecture
    tokenizer: Tokenizer | None
    step: int
    dtype: np.dtype
    read: Read
    read_slots: Callable[[], Slots] | None = None
    restore: Callable[[Any], Any] | None = None
    head: "SentenceHead | None" = None
    decoding: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self, mesh: Mesh | None = None) -> Any:
        """Returns the model with its parameters sharded over a mesh, or on the default device."""
        shapes = placed(self.config, mesh, self.architecture)
        if self.restore:
            return self.restore(shapes)
        leaves = named_leaves(shapes)
        return from_named_leaves(shapes, read_arrays(self.read, leaves, {name: name for name in leaves}))


def placed(cfg: ModelConfig, mesh: Mesh | None = None, architecture: Architecture = ENCODER_DECODER) -> Any:
    """Returns a model of `jax.ShapeDtypeStruct`, sharded over a mesh or on the default device."""
    shapes = abstract(cfg, architecture)
    if mesh is None:
        single = SingleDeviceSharding(jax.local_devices()[0])
        return jax.tree.map(lambda leaf: leaf.update(sharding=single), shapes)
    places = shardings(mesh, shapes, parameter_axes(shapes))
    return jax.tree.map(lambda leaf, place: leaf.update(sharding=place), shapes, places)


def param_shapes(cfg: ModelConfig, architecture: Architecture = ENCODER_DECODER) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's parameters by name."""
    return {name: leaf.shape for name, leaf in named_leaves(abstract(cfg, architecture)).items()}


def read_arrays(
    read: Read, leaves: Mapping[str, jax.ShapeDtypeStruct], sources: Mapping[str, str]
) -> dict[str, jax.Array]:
    """Returns arrays by name; each device reads only its shards.

    Args:
      leaves: shapes by name, with shardings, or without for the default device.
      sources: the name of the stored parameter for each leaf.
    """

    def array(name: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        shards: dict[tuple[tuple[int, int], ...], np.ndarray] = {}

        def shard(index: Index | None) -> np.ndarray:
            filled = checked_index(index, leaf.shape, name)
            key = tuple((part.start, part.stop) for part in filled)
            if key not in shards:  # replicas are read once
                shards[key] = read(sources[name], filled)
            return shards[key]

        if leaf.sharding is None:
            return jax.device_put(shard(None))
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, shard)

    return {name: array(name, leaf) for name, leaf in leaves.items()}


def reader(model: Any) -> Read:
    """Returns a function that reads slices of the parameters of an in-memory model."""
    leaves = named_leaves(model)
    return lambda name, index: np.asarray(leaves[name][index])
