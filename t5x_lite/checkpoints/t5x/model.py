# SPDX-License-Identifier: Apache-2.0
"""Models and their Adafactor state in T5X checkpoints, in the plain or the scalable layout.

The plain layout has an array per layer, `encoder/layers_3/mlp/wi_0/kernel`, with heads flattened. The scalable layout
stacks all layers in one array, `encoder/encoder/mlp/wi_0/kernel` or `encoder/layers/...`, on axis 1, with heads
flattened or not.

Shape letters: L layers, D model, N heads, H head, F feed-forward, V vocabulary, K buckets.

Source: T5X `examples/t5/network.py`, `examples/scalable_t5/network.py`, `adafactor.py`.
"""

import dataclasses
import math
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from t5x_lite.checkpoints.arrays import Index, LazyArray, checked_index
from t5x_lite.checkpoints.param_names import Row, check_arrays, rows
from t5x_lite.checkpoints.t5x.files import T5XCheckpoint, read_t5x
from t5x_lite.checkpoints.weights import LazyModel, param_shapes
from t5x_lite.config import ModelConfig
from t5x_lite.config.model import NEWER_FIELDS
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.messages import listed
from t5x_lite.model.architectures import ENCODER_DECODER, abstract
from t5x_lite.model.presets import presets
from t5x_lite.optim.adafactor import UNUSED_SHAPE
from t5x_lite.parallel.mesh import parameter_axes
from t5x_lite.parallel.param_paths import named_leaves

TARGET, SLOTS = "target/", "state/param_states/"
STACKS = ("encoder", "decoder")
BIASES = ("relpos_bias", "relative_posemb")  # flaxformer and T5X's own scalable model name it differently
SLOT_NAMES = ("v_row", "v_col", "v", "m")
LAST_NORM = "decoder/decoder_norm/scale"
MAX_SIZE, MAX_LAYERS = 2**31, 10_000
MAX_DISTANCE = 128  # of relative positions, in every published T5


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a T5X checkpoint, which has no tokenizer of its own."""
    t5x = T5XModel(path)
    slots = t5x.all_slots if t5x.has_optimizer else None
    config = t5x.config
    if tokenizer is not None:
        config = dataclasses.replace(config, pad_id=tokenizer.pad_id, eos_id=tokenizer.eos_id)
    return LazyModel(config, ENCODER_DECODER, tokenizer, t5x.step, t5x.dtype, t5x.read, read_slots=slots)


class Ones(NamedTuple):
    """A `LazyArray` of ones, which takes no memory until it is read, since its size may come from a damaged file."""

    shape: tuple[int, ...]
    dtype: np.dtype = np.dtype(np.float32)

    def read(self, index: Index | None = None) -> np.ndarray:
        return np.array(np.broadcast_to(self.dtype.type(1), self.shape)[checked_index(index, self.shape, LAST_NORM)])


@dataclasses.dataclass(frozen=True)
class Place:
    """The location of a parameter in a T5X checkpoint.

    Args:
      names: the path of its array, or the paths of its layers' arrays, without `target/`.
      shape: its shape in t5x_lite, L first.
      scanned: whether one array holds all layers, on axis 1.
      split: whether that array keeps heads as a dimension.
    """

    row: Row
    names: tuple[str, ...]
    shape: tuple[int, ...]
    scanned: bool = False
    split: bool = False

    @property
    def layer_shape(self) -> tuple[int, ...]:
        """The shape of one layer, or of the whole parameter if it has no layers."""
        return self.shape[1:] if self.row.has_layers else self.shape

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(range(len(self.layer_shape)))

    def stored_shapes(self, kept: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the possible shapes of the stored array: the expected one, and the one with heads as a dimension.

        Args:
          kept: the dimensions of a layer that a slot keeps, averaged over the others.
        """
        sizes = tuple(self.layer_shape[dim] for dim in kept)
        flat = self.row.matrix_shape(sizes) if kept == self.dims else (math.prod(sizes),)[: len(sizes)]
        shapes = [sizes] if self.split else [flat, sizes]
        axis = int(0 in kept)  # of the layers: after a layer's first dimension if that is kept, else first
        return [(*shape[:axis], self.shape[0], *shape[axis:]) if self.scanned else shape for shape in shapes]


class T5XModel:
    """The validated parameters and Adafactor slots of a T5X checkpoint, read on demand.

    Args:
      path: a file or directory, as for `read_t5x`.
      checkpoint: the checkpoint, if it is already open.

    Raises:
      ValueError: if this is not a checkpoint of a complete T5.
    """

    def __init__(self, path: str | pathlib.Path, checkpoint: T5XCheckpoint | None = None):
        self.where, checkpoint = str(path), checkpoint or read_t5x(path)
        self.step = checkpoint.step or 0
        self._arrays = checkpoint.arrays
        self._targets = {
            name.removeprefix(TARGET): array for name, array in self._arrays.items() if name.startswith(TARGET)
        }
        self.config = infer_config(self._targets, self.where)
        shapes = param_shapes(self.config)
        self._places = {row.ours: self._place(row, shapes[row.ours]) for row in rows(self.config)}
        self._cached: tuple[str, np.ndarray] | None = None
        expected = {name: place.stored_shapes(place.dims)[0] for place in self._places.values() for name in place.names}
        if LAST_NORM not in self._targets:
            print(f"{self.where} has no {LAST_NORM}: all ones are used, as in UL2", file=sys.stderr)
            self._targets[LAST_NORM] = Ones(expected[LAST_NORM])
        check_arrays(self._targets, expected, f"{self.where} is not a complete T5: it")
        for name, array in self._targets.items():
            if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
                raise ValueError(f"{self.where} has {TARGET}{name} of dtype {array.dtype}: parameters must be floats")

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the embedding."""
        return self._targets["token_embedder/embedding"].dtype

    @property
    def has_optimizer(self) -> bool:
        """Whether the checkpoint holds an optimizer state."""
        return any(name.startswith(SLOTS) for name in self._arrays)

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a slice of a parameter in float32; see `weights.Read`."""
        place = self._places[name]
        layers, in_layer = (index[0], index[1:]) if place.row.has_layers else (None, index)
        stored = in_layer if place.split else place.row.matrix_index(in_layer, place.layer_shape)
        if layers is None:
            part = self._targets[place.names[0]].read(stored)
        elif place.scanned:
            part = np.moveaxis(self._read_scanned(place, (stored[0], layers, *stored[1:])), 1, 0)
        else:
            part = np.stack([self._targets[layer_name].read(stored) for layer_name in place.names[layers]])
        return part.reshape([size.stop - size.start for size in index]).astype(np.float32)

    def _read_scanned(self, place: Place, index: Index) -> np.ndarray:
        """Reads from an array of all layers, and keeps it in memory if only some layers are requested.

        On disk, every chunk spans all layers, so reading layer by layer would read the whole array each time.
        """
        (name,) = place.names
        if index[1] == slice(0, place.shape[0]):
            return self._targets[name].read(index)
        if self._cached is None or self._cached[0] != name:
            self._cached = None  # freed before the next is read
            self._cached = name, self._targets[name].read()
        return self._cached[1][index]

    def _slot(self, place: Place, slot: str, kept: tuple[int, ...]) -> np.ndarray | None:
        """Returns an Adafactor slot that keeps some dimensions of a layer; None if the checkpoint does not use it.

        T5X's plain layout may swap v_row and v_col of `optim.adafactor`.
        """
        if slot in ("v_row", "v_col") and not place.scanned:
            slot = plain_slot(place.row.matrix_shape(place.layer_shape), kept)
        paths = [f"{SLOTS}{name}/{slot}" for name in place.names]
        for path in paths:
            if path not in self._arrays:
                raise ValueError(
                    f"{self.where} has no {path}: its optimizer is not T5X's Adafactor; leave out "
                    "optimizer.from_pretrained"
                )
        arrays = [self._arrays[path] for path in paths]
        shapes = place.stored_shapes(kept)
        if all(array.shape == UNUSED_SHAPE for array in arrays) and shapes[0] != UNUSED_SHAPE:
            return None
        for path, array in zip(paths, arrays, strict=True):
            if array.shape not in shapes:
                raise ValueError(
                    f"{self.where} has {path} of shape {list(array.shape)}, but this optimizer keeps "
                    f"{list(shapes[0])}: its Adafactor factors differently; leave out optimizer.from_pretrained"
                )
        if place.scanned:
            whole = np.moveaxis(arrays[0].read(), int(0 in kept), 0)  # as in `stored_shapes`
        else:
            whole = np.stack([array.read() for array in arrays])
        sizes = (place.layer_shape[dim] for dim in kept)
        return whole.reshape((*place.shape[: place.row.has_layers], *sizes)).astype(np.float32)

    def all_slots(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns every parameter's Adafactor slots, named as in `optim.adafactor`; raises ValueError for others."""
        names = [name for place in self._places.values() for name in place.names]
        known = {f"{SLOTS}{name}/{slot}" for name in names for slot in SLOT_NAMES}
        unknown = sorted(name for name in self._arrays if name.startswith(SLOTS) and name not in known)
        if unknown:
            raise ValueError(
                f"{self.where} has {listed(unknown, 5)}, which T5X's Adafactor does not keep: leave out "
                "optimizer.from_pretrained"
            )
        unused = np.zeros(UNUSED_SHAPE, np.float32)
        all_slots: dict[str, dict[str, np.ndarray]] = {}
        for name, axes in layer_axes(self.config).items():
            place, kept = self._places[name], kept_dims(axes)
            slots = {slot: self._slot(place, slot, kept.get(slot, place.dims)) for slot in SLOT_NAMES}
            if slots["m"] is None:
                del slots["m"]
            all_slots[name] = {slot: unused if array is None else array for slot, array in slots.items()}
        return all_slots

    def _place(self, row: Row, shape: tuple[int, ...]) -> Place:
        if not row.has_layers:
            return Place(row, (row.t5x,), shape)
        container = scanned_container(self._targets, row.t5x.split("/")[0])
        if container is None:
            return Place(row, tuple(row.t5x.format(layer=layer) for layer in range(shape[0])), shape)
        name = row.t5x.replace("layers_{layer}", container)
        aliases = [name.replace(BIASES[0], bias) for bias in BIASES]
        name = next((alias for alias in aliases if alias in self._targets), name)
        split = name in self._targets and len(self._targets[name].shape) == len(shape)
        return Place(row, (name,), shape, scanned=True, split=split)


def infer_config(targets: Mapping[str, LazyArray], where: str) -> ModelConfig:
    """Infers the config from the names and shapes of a checkpoint's parameters.

    Activations are not stored: those of the published models of the same sizes are assumed, or else T5 1.1's for gated
    MLPs and T5 1.0's for others. Logit scaling and the maximum distance of position biases are assumed to be T5's.

    Raises:
      ValueError: if they are not the parameters of a T5.
    """

    def shape(name: str, num_dims: int) -> tuple[int, ...]:
        stored = targets[name].shape if name in targets else ()
        if len(stored) != num_dims or not all(0 < size <= MAX_SIZE for size in stored):
            problem = f"has shape {list(stored)}" if name in targets else "is missing"
            raise ValueError(f"{where} is not a T5: {TARGET}{name} {problem}. Name a checkpoint of an encoder-decoder")
        return stored

    V, D = shape("token_embedder/embedding", 2)
    depths = {stack: _depth(targets, stack, where) for stack in STACKS}
    container = scanned_container(targets, "encoder")
    layer, num_layer_dims = f"encoder/{container or 'layers_0'}", int(container is not None)
    table = next((name for bias in BIASES if (name := f"{layer}/{bias}/rel_embedding") in targets), None)
    if table is None:
        N, K = shape("encoder/relpos_bias/rel_embedding", 2)
    else:
        N, *_, K = shape(table, 2 + num_layer_dims)
    gated = f"{layer}/mlp/wi_0/kernel" in targets
    F = shape(f"{layer}/mlp/wi{'_0' if gated else ''}/kernel", 2 + num_layer_dims)[-1]
    name = f"{layer}/attention/query/kernel"
    query = targets[name].shape if name in targets else ()
    heads = math.prod(query[1 + num_layer_dims :]) if len(query) > 1 else 0
    if not 0 < heads <= MAX_SIZE or heads % N:
        raise ValueError(f"{where} is not a T5: {TARGET}{name} of shape {list(query)} does not have {N} heads")
    return with_published_activations(
        ModelConfig(
            vocab_size=V,
            emb_dim=D,
            num_heads=N,
            head_dim=heads // N,
            mlp_dim=F,
            num_encoder_layers=depths["encoder"],
            num_decoder_layers=depths["decoder"],
            mlp_activations=("gelu", "linear") if gated else ("relu",),
            tie_embeddings="decoder/logits_dense/kernel" not in targets,
            relative_bias_per_layer=table is not None,
            relative_position_buckets=K,
        )
    )


def unstored_fields(cfg: ModelConfig) -> list[str]:
    """Returns the config fields that T5X checkpoints do not store and `infer_config` would guess wrong."""
    usual = ("gelu", "linear") if len(cfg.mlp_activations) == 2 else ("relu",)
    guess = with_published_activations(dataclasses.replace(cfg, mlp_activations=usual))
    default = ModelConfig()
    newer = {name: getattr(default, name) for name in NEWER_FIELDS}
    guess = dataclasses.replace(guess, scale_logits=None, relative_position_max_distance=MAX_DISTANCE, **newer)
    names = ("mlp_activations", "scales_logits", "relative_position_max_distance", *NEWER_FIELDS)
    return [f"{name} {getattr(cfg, name)}" for name in names if getattr(cfg, name) != getattr(guess, name)]


def with_published_activations(cfg: ModelConfig) -> ModelConfig:
    """Sets the activations to those of the published models of the same sizes, if these exist and agree."""
    sizes = ("emb_dim", "num_heads", "head_dim", "mlp_dim", "num_encoder_layers", "num_decoder_layers")
    published = {
        preset.mlp_activations
        for preset in presets.values()
        if all(getattr(preset, size) == getattr(cfg, size) for size in sizes)
        and len(preset.mlp_activations) == len(cfg.mlp_activations)
    }
    return dataclasses.replace(cfg, mlp_activations=published.pop()) if len(published) == 1 else cfg


def scanned_container(targets: Mapping[str, LazyArray], stack: str) -> str | None:
    """Returns the key of a stack's scanned layers; None if the stack has an array per layer."""
    names = ("layers", stack)
    return next((name for name in names if any(path.startswith(f"{stack}/{name}/") for path in targets)), None)


def plain_slot(matrix_shape: tuple[int, ...], kept: tuple[int, ...]) -> str:
    """Returns the slot where T5X keeps some dimensions of a matrix: v_row for the smaller side, the first if equal."""
    first_is_row = len(matrix_shape) < 2 or matrix_shape[0] <= matrix_shape[1]
    return "v_row" if (0 in kept) == first_is_row else "v_col"


def layer_axes(cfg: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Returns the axis names of every parameter, without the layers."""
    shapes = abstract(cfg)
    axes = jax.tree.structure(shapes).flatten_up_to(parameter_axes(shapes))
    return {name: names[names[0] == "layers" :] for name, names in zip(named_leaves(shapes), axes, strict=True)}


def kept_dims(axes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Returns the dimensions that v_row and v_col of `optim.adafactor` keep, given a layer's axis names."""
    row = (axes.index("embed") if "embed" in axes else 0,)
    return {"v_row": row, "v_col": tuple(dim for dim in range(len(axes)) if dim not in row)}


def _depth(targets: Mapping[str, LazyArray], stack: str, where: str) -> int:
    container = scanned_container(targets, stack)
    if container is not None:
        norm = targets.get(f"{stack}/{container}/pre_mlp_layer_norm/scale")
        if norm is not None and len(norm.shape) == 2 and 0 < norm.shape[1] <= MAX_LAYERS:
            return norm.shape[1]
    layers = {int(match[1]) for name in targets if (match := re.match(rf"{stack}/layers_([0-9]{{1,6}})/", name))}
    if container is None and layers and layers == set(range(len(layers))):
        return len(layers)
    raise ValueError(
        f"{where} is not a T5: the layers of its {stack} are {sorted(layers)[:20] if layers else 'missing'}, but must "
        "be 0, 1, 2 and so on. Name a checkpoint of an encoder-decoder"
    )
