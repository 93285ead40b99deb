# SPDX-License-Identifier: Apache-2.0
"""Models, and the state of their optimizer, in checkpoints of T5X: the plain layout, and the scalable one.

Plain is an array a layer, `encoder/layers_3/mlp/wi_0/kernel`, heads side by side. Scalable is an array of all layers,
`encoder/encoder/mlp/wi_0/kernel` or `encoder/layers/...`, the layers along axis 1, heads side by side or not.

Shape letters: L layers, D model, N heads, H head, F feed-forward, V vocabulary, K buckets.

Source: T5X `examples/t5/network.py`, `examples/scalable_t5/network.py`, `adafactor.py`.
"""

import dataclasses
import math
import pathlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from t5x_lite.checkpoints.arrays import Index, LazyArray
from t5x_lite.checkpoints.param_names import Row, differences, rows
from t5x_lite.checkpoints.t5x.files import T5XCheckpoint, read_t5x
from t5x_lite.checkpoints.t5x.optimizer import UNUSED_SHAPE
from t5x_lite.checkpoints.weights import LazyModel
from t5x_lite.config import ModelConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.messages import listed
from t5x_lite.model.architectures import ENCODER_DECODER, abstract
from t5x_lite.model.presets import presets
from t5x_lite.parallel.mesh import parameter_axes
from t5x_lite.parallel.param_paths import named_leaves

TARGET, SLOTS = "target/", "state/param_states/"
STACKS = ("encoder", "decoder")
BIASES = ("relpos_bias", "relative_posemb")  # flaxformer and T5X's own scalable model name it differently
TABLE = "relpos_bias/rel_embedding"
SLOT_NAMES = ("v_row", "v_col", "v", "m")
LAST_NORM = "decoder/decoder_norm/scale"
LARGEST_SIZE, MOST_LAYERS = 2**31, 10_000
LAYERS = "layers"  # the axis of the scalable layout, among the numbers of a layer's dimensions here

Groups = tuple[tuple[int | str, ...], ...]  # for each dimension in T5X, the dimensions here that are side by side in it


@dataclasses.dataclass(frozen=True)
class Home:
    """Where a parameter lies in a checkpoint.

    Args:
      names: its path, or that of each layer in turn, without `target/`.
      groups: how the dimensions of each array there are made of those of a layer here.
      shape: of a layer here, or of all where there are none.
      num_layers: L, or None where there are none.
    """

    names: tuple[str, ...]
    groups: Groups
    shape: tuple[int, ...]
    num_layers: int | None

    def there(self, kept: tuple[int, ...] | None = None) -> Groups:
        """Returns the groups that are left of an array averaged over all of a layer's dimensions but some."""
        if kept is None:
            return self.groups
        left = (tuple(dim for dim in group if dim == LAYERS or dim in kept) for group in self.groups)
        return tuple(group for group in left if group)

    def shape_there(self, groups: Groups) -> tuple[int, ...]:
        """Returns the shape of an array there."""
        return tuple(math.prod(self._size(dim) for dim in group) for group in groups)

    def from_there(self, array: np.ndarray, groups: Groups, sizes: Mapping[int | str, int]) -> np.ndarray:
        """Returns an array, or a part of one, with the dimensions that it has here, layers first."""
        flat = [dim for group in groups for dim in group]
        order = sorted(range(len(flat)), key=lambda place: -1 if flat[place] == LAYERS else int(flat[place]))
        return array.reshape([sizes[dim] for dim in flat]).transpose(order)

    def to_there(self, array: np.ndarray, groups: Groups) -> np.ndarray:
        """The inverse of `from_there`, of a whole array of one layer."""
        flat = [int(dim) for group in groups for dim in group]
        return array.transpose([sorted(flat).index(dim) for dim in flat]).reshape(self.shape_there(groups))

    def sizes(self) -> dict[int | str, int]:
        """Returns the size of each dimension."""
        return {dim: self._size(dim) for group in self.groups for dim in group}

    def _size(self, dim: int | str) -> int:
        return (self.num_layers or 1) if dim == LAYERS else self.shape[int(dim)]


@dataclasses.dataclass(frozen=True)
class Ones:
    """An array that a checkpoint lacks, where that means that all of it is 1."""

    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """The type of its numbers."""
        return np.dtype(np.float32)

    def read(self, index: Index | None = None) -> np.ndarray:
        """Returns the array, or a part of it."""
        return np.ones(self.shape, self.dtype)[index or ...]


class InMemory(NamedTuple):
    """A `LazyArray` that has been read."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def read(self, index: Index | None = None) -> np.ndarray:
        return self.array if index is None else self.array[index]


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a T5X checkpoint, which has no tokenizer."""
    t5x = T5XModel(path)
    slots = t5x.all_slots if t5x.has_optimizer else None
    return LazyModel(t5x.config, ENCODER_DECODER, tokenizer, t5x.step, t5x.dtype, t5x.read, read_slots=slots)


class T5XModel:
    """The parameters of a checkpoint, and what its optimizer keeps of them.

    Args:
      path: a file or a directory, as `read_t5x` takes it; names the checkpoint in errors.
      checkpoint: what it holds, if it has been read.

    Raises:
      ValueError: if it is none, or holds something else than a T5 or not all of one.
    """

    def __init__(self, path: str | pathlib.Path, checkpoint: T5XCheckpoint | None = None):
        self.where, checkpoint = str(path), checkpoint or read_t5x(path)
        self.step = checkpoint.step or 0
        self._arrays = checkpoint.arrays
        self._targets = {
            name.removeprefix(TARGET): array for name, array in self._arrays.items() if name.startswith(TARGET)
        }
        self.config = infer_config(self._targets, self.where)
        self._homes = self._find_homes()
        self._kept: tuple[str, InMemory] | None = None
        self._check()

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers of the embedding."""
        return self._targets["token_embedder/embedding"].dtype

    @property
    def has_optimizer(self) -> bool:
        """Whether there is the state of an optimizer too."""
        return any(name.startswith(SLOTS) for name in self._arrays)

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a parameter, float32.

        Args:
          name: of the parameter, here.
          index: a slice with a start and a stop for each of its dimensions.
        """
        home = self._homes[name]
        arrays = [self._whole_if_scanned(home, index) or self._targets[there] for there in home.names]
        return _read(home, arrays, home.groups, index).astype(np.float32)

    def _whole_if_scanned(self, home: Home, index: Index) -> LazyArray | None:
        """Returns an array of all layers in memory if some of them are asked for: the others are asked for next.

        On disk, each chunk holds all layers, so that reading them one by one would read everything as many times.
        """
        if home.num_layers is None or _is_a_layer(home) or index[0] == slice(0, home.num_layers):
            return None
        if self._kept is None or self._kept[0] != home.names[0]:
            self._kept = None  # before the next is read: there is room for one
            self._kept = home.names[0], InMemory(self._targets[home.names[0]].read())
        return self._kept[1]

    def slot(self, name: str, slot: str, kept: tuple[int, ...] | None = None) -> np.ndarray | None:
        """Returns what Adafactor keeps of a parameter, whole; None if it does not use this slot.

        Args:
          name: of the parameter, here.
          slot: v, m, or for an average v_row or v_col: which of the two has these dimensions there is found out.
          kept: dimensions of a layer here that an average still has.

        Raises:
          ValueError: if it is not there, or has another shape.
        """
        home = self._homes[name]
        groups = home.there(kept)
        expected = home.shape_there(groups)
        if kept is not None and LAYERS not in [dim for group in groups for dim in group]:
            slot = plain_slot(home.shape_there(home.groups), home.groups, kept)
        arrays = [self._slot_array(f"{SLOTS}{there}/{slot}") for there in home.names]
        if all(array.shape == UNUSED_SHAPE for array in arrays) and expected != UNUSED_SHAPE:
            return None
        for array, there in zip(arrays, home.names, strict=True):
            if array.shape not in (expected, _split_shape(home, groups)):
                raise ValueError(
                    f"{self.where} has {SLOTS}{there}/{slot} of shape {list(array.shape)}, where this optimizer keeps "
                    f"{list(expected)}: its Adafactor factors otherwise; leave optimizer.from_pretrained out"
                )
        parts = [home.from_there(array.read(), groups, home.sizes()) for array in arrays]
        return (parts[0] if len(parts) == 1 and not _is_a_layer(home) else np.stack(parts)).astype(np.float32)

    def check_slots(self) -> None:
        """Raises ValueError if the state of the optimizer has arrays that Adafactor does not keep."""
        paths = {
            f"{SLOTS}{there}/{slot}" for home in self._homes.values() for there in home.names for slot in SLOT_NAMES
        }
        unknown = sorted(name for name in self._arrays if name.startswith(SLOTS) and name not in paths)
        if unknown:
            raise ValueError(
                f"{self.where} has {listed(unknown, 5)}, which T5X's Adafactor does not keep: leave "
                "optimizer.from_pretrained out"
            )

    def all_slots(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns what Adafactor keeps of every parameter, by the names of `optim.adafactor`."""
        self.check_slots()
        axes = axes_of(self.config)
        found: dict[str, dict[str, np.ndarray]] = {}
        for name, names in axes.items():
            kept = kept_dims(names[1:] if names[0] == "layers" else names)
            slots = {slot: self.slot(name, slot, kept.get(slot)) for slot in ("v_row", "v_col", "v")}
            if (moment := self.slot(name, "m")) is not None:
                slots["m"] = moment
            unused = np.zeros(UNUSED_SHAPE, np.float32)
            found[name] = {slot: unused if array is None else array for slot, array in slots.items()}
        return found

    def _slot_array(self, path: str) -> LazyArray:
        if path not in self._arrays:
            raise ValueError(
                f"{self.where} has no {path}: its optimizer is not T5X's Adafactor; leave optimizer.from_pretrained out"
            )
        return self._arrays[path]

    def _find_homes(self) -> dict[str, Home]:
        shapes = {name: leaf.shape for name, leaf in named_leaves(abstract(self.config)).items()}
        return {row.ours: self._home(row, shapes[row.ours]) for row in rows(self.config)}

    def _home(self, row: Row, shape: tuple[int, ...]) -> Home:
        if not row.has_layers:
            return Home((row.t5x,), row.t5x_groups(shape), shape, None)
        stack = row.t5x.split("/")[0]
        container = scanned_below(self._targets, stack)
        if container is None:
            names = tuple(row.t5x.format(layer=layer) for layer in range(shape[0]))
            return Home(names, row.t5x_groups(shape[1:]), shape[1:], shape[0])
        name = row.t5x.replace("layers_{layer}", container)
        aliases = [name.replace(BIASES[0], bias) for bias in BIASES]
        name = next((alias for alias in aliases if alias in self._targets), name)
        joined = row.t5x_groups(shape[1:])
        split: Groups = tuple((dim,) for dim in range(len(shape) - 1))
        found = self._targets[name].shape if name in self._targets else ()
        first, *rest = split if len(found) == len(shape) else joined
        return Home((name,), (first, (LAYERS,), *rest), shape[1:], shape[0])

    def _check(self) -> None:
        """Raises ValueError unless every parameter has its array, of its shape, and every array its parameter."""
        expected = {name: home.shape_there(home.groups) for home in self._homes.values() for name in home.names}
        if LAST_NORM not in self._targets:
            print(f"{self.where} has no {LAST_NORM}: it is read as 1, as UL2 has it", file=sys.stderr)
            self._targets[LAST_NORM] = Ones(expected[LAST_NORM])
        missing = sorted(expected.keys() - self._targets.keys())
        unknown = sorted(self._targets.keys() - expected.keys())
        unknown += [f"{name} of {array.dtype}" for name, array in self._targets.items() if not _is_float(array)]
        if problem := differences(missing, unknown):
            raise ValueError(f"{self.where} is no whole T5: it {problem}. Name a checkpoint of one")
        for name, shape in expected.items():
            if self._targets[name].shape != shape:
                raise ValueError(
                    f"{self.where} has {TARGET}{name} of shape {list(self._targets[name].shape)}, where the others ask "
                    f"for {list(shape)}: it is damaged, or no T5; fetch it again"
                )


def infer_config(targets: Mapping[str, LazyArray], where: str) -> ModelConfig:
    """Returns the architecture that the names and shapes of a checkpoint's arrays tell of.

    They do not tell the activations, which are those of the published models of the same sizes; where there are none,
    T5 1.1's if they are gated, and T5 1.0's if not. Nor do they tell how far the position biases reach, which is 128 in
    every published T5.

    Raises:
      ValueError: if they are not those of a T5.
    """

    def shape(name: str, num_dims: int) -> tuple[int, ...]:
        found = targets[name].shape if name in targets else ()
        if len(found) != num_dims or not all(0 < size <= LARGEST_SIZE for size in found):
            said = f"of shape {list(found)}" if name in targets else "not there"
            raise ValueError(f"{where} is no T5: {TARGET}{name} is {said}. Name a checkpoint of an encoder-decoder")
        return found

    V, D = shape("token_embedder/embedding", 2)
    depths = {stack: _depth(targets, stack, where) for stack in STACKS}
    container = scanned_below(targets, "encoder")
    layer = "encoder/layers_0" if container is None else f"encoder/{container}"
    tables = [f"{layer}/{bias}/rel_embedding" for bias in BIASES]
    per_layer = next((name for name in tables if name in targets), None)
    table = shape(per_layer or f"encoder/{TABLE}", 2 if container is None or per_layer is None else 3)
    N, K = table[0], table[-1]
    gated = f"{layer}/mlp/wi_0/kernel" in targets
    F = shape(f"{layer}/mlp/wi{'_0' if gated else ''}/kernel", 2 if container is None else 3)[-1]
    query = targets[shape_of].shape if (shape_of := f"{layer}/attention/query/kernel") in targets else ()
    inner = math.prod(query[1:] if container is None else query[2:]) if len(query) > 1 else 0
    if not 0 < inner <= LARGEST_SIZE or inner % N:
        raise ValueError(f"{where} is no T5: {TARGET}{shape_of} of shape {list(query)} has no {N} heads")
    return with_published_activations(
        ModelConfig(
            vocab_size=V,
            emb_dim=D,
            num_heads=N,
            head_dim=inner // N,
            mlp_dim=F,
            num_encoder_layers=depths["encoder"],
            num_decoder_layers=depths["decoder"],
            mlp_activations=("gelu", "linear") if gated else ("relu",),
            tie_embeddings="decoder/logits_dense/kernel" not in targets,
            relative_bias_per_layer=per_layer is not None,
            relative_position_buckets=K,
        )
    )


def untold(cfg: ModelConfig) -> list[str]:
    """Returns what a checkpoint of T5X cannot say of a model, so that whoever reads it has to be told."""
    usual = ("gelu", "linear") if len(cfg.mlp_activations) == 2 else ("relu",)
    guessed = with_published_activations(dataclasses.replace(cfg, mlp_activations=usual))
    read = dataclasses.replace(guessed, scale_logits=None, relative_position_max_distance=128)
    names = ("mlp_activations", "scales_logits", "relative_position_max_distance")
    return [f"{name} {getattr(cfg, name)}" for name in names if getattr(cfg, name) != getattr(read, name)]


def with_published_activations(cfg: ModelConfig) -> ModelConfig:
    """Returns a config with the activations of the published models that are as large and as deep.

    It keeps its own where there are no such models, or they differ.
    """
    sizes = ("emb_dim", "num_heads", "head_dim", "mlp_dim", "num_encoder_layers", "num_decoder_layers")
    found = {
        preset.mlp_activations
        for preset in presets.values()
        if all(getattr(preset, size) == getattr(cfg, size) for size in sizes)
        and len(preset.mlp_activations) == len(cfg.mlp_activations)
    }
    return dataclasses.replace(cfg, mlp_activations=found.pop()) if len(found) == 1 else cfg


def scanned_below(targets: Mapping[str, LazyArray], stack: str) -> str | None:
    """Returns under which name a stack has all its layers in one, or None if it has them one by one."""
    return next(
        (name for name in ("layers", stack) if any(key.startswith(f"{stack}/{name}/") for key in targets)), None
    )


def plain_slot(shape: tuple[int, ...], groups: Groups, kept: tuple[int, ...]) -> str:
    """Returns which slot of a matrix keeps some dimensions: v_row keeps the smaller side, the first of equals."""
    first_is_row = len(shape) < 2 or shape[0] <= shape[1]
    keeps_first = set(groups[0]) == set(kept)
    return "v_row" if keeps_first == first_is_row else "v_col"


def plain_arrays(
    cfg: ModelConfig,
    read: Callable[[str, Index], np.ndarray],
    slots: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> dict[str, Callable[[], np.ndarray]]:
    """Returns what makes the arrays of a checkpoint in the plain layout, by their paths, for `write_t5x`.

    Args:
      cfg: the architecture.
      read: returns a part of a parameter, as `T5XModel.read`.
      slots: for each parameter by name what Adafactor keeps of it, by the names of `optim.adafactor`; None leaves the
        optimizer out.
    """
    found: dict[str, Callable[[], np.ndarray]] = {}
    leaves, axes = named_leaves(abstract(cfg)), axes_of(cfg)
    for row in rows(cfg):
        shape = leaves[row.ours].shape
        for layer in range(shape[0]) if row.has_layers else (None,):
            single = shape if layer is None else shape[1:]
            name = row.t5x if layer is None else row.t5x.format(layer=layer)
            home = Home((name,), row.t5x_groups(single), single, None)

            def parameter(row: Row = row, layer: int | None = layer, home: Home = home) -> np.ndarray:
                whole = tuple(slice(0, size) for size in home.shape)
                if layer is None:
                    return home.to_there(read(row.ours, whole), home.groups)
                return home.to_there(read(row.ours, (slice(layer, layer + 1), *whole))[0], home.groups)

            found[f"{TARGET}{name}"] = parameter
            if slots is not None:
                names = axes[row.ours] if layer is None else axes[row.ours][1:]
                found |= _slot_arrays(home, names, slots[row.ours], layer)
    return found


def _slot_arrays(
    home: Home, axes: tuple[str, ...], slots: Mapping[str, np.ndarray], layer: int | None
) -> dict[str, Callable[[], np.ndarray]]:
    """Returns what makes the slots of one array of the plain layout."""
    prefix = f"{SLOTS}{home.names[0]}"
    unused = np.zeros(UNUSED_SHAPE, np.float32)
    made: dict[str, Callable[[], np.ndarray]] = {f"{prefix}/{slot}": lambda: unused for slot in SLOT_NAMES}

    def of_layer(slot: str, kept: tuple[int, ...] | None) -> Callable[[], np.ndarray]:
        def make() -> np.ndarray:
            array = np.asarray(slots[slot]) if layer is None else np.asarray(slots[slot][layer])
            return home.to_there(array, home.there(kept))

        return make

    if slots["v"].shape != UNUSED_SHAPE:
        made[f"{prefix}/v"] = of_layer("v", None)
    else:
        for slot, kept in kept_dims(axes).items():
            made[f"{prefix}/{plain_slot(home.shape_there(home.groups), home.groups, kept)}"] = of_layer(slot, kept)
    if "m" in slots:
        made[f"{prefix}/m"] = of_layer("m", None)
    return made


def axes_of(cfg: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Returns the axis names of every parameter."""
    shapes = abstract(cfg)
    axes = jax.tree.structure(shapes).flatten_up_to(parameter_axes(shapes))
    return dict(zip(named_leaves(shapes), axes, strict=True))


def kept_dims(axes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Returns which of a layer's dimensions v_row and v_col of `optim.adafactor` keep, by its axis names."""
    row = (axes.index("embed") if "embed" in axes else 0,)
    return {"v_row": row, "v_col": tuple(dim for dim in range(len(axes)) if dim not in row)}


def _split_shape(home: Home, groups: Groups) -> tuple[int, ...]:
    """Returns the shape of an array there in which nothing is side by side."""
    return home.shape_there(tuple((dim,) for group in groups for dim in group))


def _read(home: Home, arrays: list[LazyArray], groups: Groups, index: Index) -> np.ndarray:
    """Returns a part of a parameter from the array of all layers, or from those of each."""
    of_layer = index if home.num_layers is None else index[1:]
    parts: dict[int | str, slice] = dict(enumerate(of_layer))
    if home.num_layers is not None:
        parts[LAYERS] = index[0]
    sizes = {dim: part.stop - part.start for dim, part in parts.items()}
    there = tuple(_joined([(parts[dim], home.sizes().get(dim, 1)) for dim in group]) for group in groups)
    if not _is_a_layer(home):
        return home.from_there(arrays[0].read(there), groups, sizes)
    chosen = arrays[index[0].start : index[0].stop]
    return np.stack([home.from_there(array.read(there), groups, sizes) for array in chosen])


def _is_float(array: LazyArray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _is_a_layer(home: Home) -> bool:
    """Whether each array is one layer's."""
    return home.num_layers is not None and (LAYERS,) not in home.groups


def _joined(parts: list[tuple[slice, int]]) -> slice:
    """Returns the slice of dimensions that are side by side, of which only the first is cut."""
    (first, _), *rest = parts
    inner = math.prod(size for _, size in rest)
    assert all((part.start, part.stop) == (0, size) for part, size in rest), "a head is cut"
    return slice(first.start * inner, first.stop * inner)


def _depth(targets: Mapping[str, LazyArray], stack: str, where: str) -> int:
    container = scanned_below(targets, stack)
    if container is not None:
        norm = targets.get(f"{stack}/{container}/pre_mlp_layer_norm/scale")
        if norm is not None and len(norm.shape) == 2 and 0 < norm.shape[1] <= MOST_LAYERS:
            return norm.shape[1]
    found = {int(match[1]) for name in targets if (match := re.match(rf"{stack}/layers_([0-9]{{1,6}})/", name))}
    if container is None and found and found == set(range(len(found))):
        return len(found)
    raise ValueError(
        f"{where} is no T5: the layers of its {stack} are {sorted(found)[:20] if found else 'not there'}, and they "
        "have to be 0, 1, 2 and so on. Name a checkpoint of an encoder-decoder"
    )
