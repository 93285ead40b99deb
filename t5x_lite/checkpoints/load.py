# SPDX-License-Identifier: Apache-2.0
"""Loading a trained model from a directory, and giving one away."""

import contextlib
import functools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import yaml
from jax.sharding import Mesh, SingleDeviceSharding

from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.checkpoints.hf.generation import read_generation_config
from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer
from t5x_lite.checkpoints.hf.weights import HFCheckpoint, is_hf_directory, save_weights
from t5x_lite.checkpoints.native import OwnCheckpoint, architecture_from_json, is_own_directory, model_config_from_json
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.checkpoints.t5x.files import looks_like_t5x
from t5x_lite.checkpoints.t5x.model import T5XModel
from t5x_lite.checkpoints.weights import Read, read_arrays, reader
from t5x_lite.config import GenerationConfig, ModelConfig
from t5x_lite.data.tokenizers import Tokenizer, load_tokenizer
from t5x_lite.files.atomic_write import new_directory
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture, abstract
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import parameter_axes, shardings
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

FLOAT32 = np.dtype(np.float32)


class Pretrained(NamedTuple):
    """What `load` returns."""

    model: Any  # of `model.architectures`; a T5 unless it was trained as something else
    tokenizer: Tokenizer
    config: ModelConfig
    step: int  # of the checkpoint; 0 if it does not say
    architecture: Architecture = ENCODER_DECODER
    generation: GenerationConfig = GenerationConfig()  # how its authors decode with it, if they say


class OnDisk(NamedTuple):
    """A trained model that has been found and checked, and not read yet, unless it is a run's."""

    config: ModelConfig
    architecture: Architecture
    tokenizer: Tokenizer | None  # T5X keeps none
    step: int  # of the checkpoint; 0 if it does not say
    dtype: np.dtype  # of the numbers
    read: Read  # a part of a parameter
    t5x: T5XModel | None = None  # a checkpoint of T5X, which may have the state of an optimizer


def load(
    directory: str | os.PathLike[str], mesh: Mesh | None = None, *, tokenizer: Tokenizer | None = None
) -> Pretrained:
    """Reads a model: the newest checkpoint of a run, or what Hugging Face, T5X or `t5x-lite convert` wrote.

    Args:
      directory: of any of these kinds, or a file of T5X's; which it is shows in the files it has.
      mesh: where the parameters go, each device reading its own part; None is the default device.
      tokenizer: in place of the directory's own; of a checkpoint of T5X, which has none, it has to be given.

    Raises:
      ValueError: if it is none of these, holds no checkpoint yet, or is damaged.
    """
    path = pathlib.Path(directory)
    if is_run(path):
        return _load_run(path, mesh, tokenizer)
    found = open_pretrained(path, tokenizer=tokenizer)
    used = check_has_tokenizer(found, path)
    shapes = placed(found.config, mesh, found.architecture)
    leaves = named_leaves(shapes)
    arrays = read_arrays(found.read, leaves, {name: name for name in leaves})
    return Pretrained(
        from_named_leaves(shapes, arrays),
        used,
        found.config,
        found.step,
        found.architecture,
        generation_config(path, tell=_tell),
    )


def trained_length(directory: str | os.PathLike[str]) -> int | None:
    """Returns how many input tokens a model was trained with; None if it does not say."""
    path = pathlib.Path(directory)
    if is_run(path):
        found = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        train = found.get("train") if isinstance(found, dict) else None
        return train.get("inputs_length") if isinstance(train, dict) else None
    if is_hf_directory(path):
        length = read_json(path / "config.json").get("n_positions")
        return length if isinstance(length, int) else None
    return None


def generation_config(
    directory: str | os.PathLike[str], *, tell: Callable[[str], object] = lambda line: None
) -> GenerationConfig:
    """Returns how the authors of a model decode with it; the defaults if they do not say, or there is no model."""
    path = pathlib.Path(directory)
    found = read_generation_config(path, tell=tell) if is_hf_directory(path) else None
    return found or GenerationConfig()


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def open_pretrained(directory: str | os.PathLike[str], *, tokenizer: Tokenizer | None = None) -> OnDisk:
    """Finds a model of any kind that `load` reads; its parameters are read part by part when asked for.

    Args:
      directory: as for `load`.
      tokenizer: in place of the directory's own.

    Raises:
      ValueError: as for `load`.
    """
    path = pathlib.Path(directory)
    if is_run(path):
        found = _open_run(path, tokenizer)
    elif is_own_directory(path):
        own = OwnCheckpoint(path)
        used = tokenizer or load_tokenizer(path)
        found = OnDisk(own.config, own.architecture, used, own.step, own.dtype, own.read)
    elif is_hf_directory(path):
        theirs = HFCheckpoint(path)
        found = OnDisk(theirs.config, ENCODER_DECODER, tokenizer or read_tokenizer(path), 0, theirs.dtype, theirs.read)
    elif path.is_file() or looks_like_t5x(path):
        t5x = T5XModel(path)
        found = OnDisk(t5x.config, ENCODER_DECODER, tokenizer, t5x.step, t5x.dtype, t5x.read, t5x)
    else:
        raise ValueError(
            f"--checkpoint {path} is neither a run directory (it has no config.yaml), nor a Hugging Face model (it has "
            "no config.json), nor a checkpoint of T5X: name one that train made, or one with config.json and "
            "model.safetensors"
        )
    if found.tokenizer is not None and found.tokenizer.vocab_size > found.config.vocab_size:
        raise ValueError(
            f"{path} has a tokenizer of {found.tokenizer.vocab_size:,} ids, and its model has vocab_size "
            f"{found.config.vocab_size:,}: use the files of the same model"
        )
    return found


def check_has_tokenizer(found: OnDisk, path: pathlib.Path) -> Tokenizer:
    """Returns the tokenizer of a model; raises ValueError if there is none."""
    if found.tokenizer is None:
        raise ValueError(
            f"{path} is a checkpoint of T5X, which keeps no tokenizer: give one, with --tokenizer of t5x-lite convert "
            "or t5x_lite.load(..., tokenizer=...)"
        )
    return found.tokenizer


def is_run(path: pathlib.Path) -> bool:
    """Whether this looks like a run directory."""
    return (path / "config.yaml").is_file()


def save_hf(model: T5, tokenizer: Tokenizer, directory: str | os.PathLike[str], *, dtype: str = "float32") -> None:
    """Writes a model as Hugging Face has them, for `transformers.AutoModelForSeq2SeqLM.from_pretrained`.

    Args:
      model: on devices that this process can read.
      tokenizer: of the model.
      directory: must not exist, or be empty; it appears when it is whole.
      dtype: of the numbers, float32 or bfloat16.

    Raises:
      ValueError: if the directory holds something, or Hugging Face has no such model or tokenizer.
      OSError: if it cannot be written.
    """
    write_hf(pathlib.Path(directory), model.cfg, tokenizer, reader(model), dtype=np.dtype(dtype))


def write_hf(
    directory: pathlib.Path,
    cfg: ModelConfig,
    tokenizer: Tokenizer,
    read: Read,
    *,
    dtype: np.dtype,
    progress: Callable[[int], object] = lambda num_bytes: None,
) -> None:
    """`save_hf` of parameters that `read` gives in parts, as `interop.hf.save_weights` takes it."""
    with new_directory(directory) as temporary:
        save_tokenizer(tokenizer, temporary)
        save_weights(temporary, cfg, read, dtype=dtype, progress=progress)


def placed(cfg: ModelConfig, mesh: Mesh | None, architecture: Architecture = ENCODER_DECODER) -> Any:
    """Returns a model of `jax.ShapeDtypeStruct` with shardings: over a mesh, or all on the default device."""
    shapes = abstract(cfg, architecture)
    if mesh is None:
        single = SingleDeviceSharding(jax.local_devices()[0])
        places = jax.tree.map(lambda _: single, shapes)
    else:
        places = shardings(mesh, shapes, parameter_axes(shapes))
    where = named_leaves(places)
    leaves = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where[name])
        for name, leaf in named_leaves(shapes).items()
    }
    return from_named_leaves(shapes, leaves)


@contextlib.contextmanager
def _run(path: pathlib.Path) -> Iterator[tuple[Checkpoints, int, ModelConfig, Architecture]]:
    """Opens a run's checkpoints while the block lasts, and says what the newest is of."""
    checkpoints = Checkpoints(path / "checkpoints")
    try:
        step = checkpoints.latest_step()
        if step is None:
            raise ValueError(f"--checkpoint {path} holds no checkpoint yet: let the run reach its first one")
        meta = checkpoints.meta(step)
        config, architecture = model_config_from_json(meta["model"]), ENCODER_DECODER
        if "architecture" in meta:  # the first version had one alone
            architecture = architecture_from_json(meta["architecture"])
        yield checkpoints, step, config, architecture
    finally:
        checkpoints.close()


def _load_run(path: pathlib.Path, mesh: Mesh | None, tokenizer: Tokenizer | None) -> Pretrained:
    with _run(path) as (checkpoints, step, config, architecture):
        model = checkpoints.restore(step, {"model": placed(config, mesh, architecture)})["model"]
    return Pretrained(model, tokenizer or load_tokenizer(path), config, step, architecture)


def _open_run(path: pathlib.Path, tokenizer: Tokenizer | None) -> OnDisk:
    """Finds a run's newest checkpoint, which is read as a whole when its first parameter is asked for."""

    @functools.cache
    def read_whole() -> Read:
        return reader(_load_run(path, None, tokenizer).model)

    with _run(path) as (_, step, config, architecture):
        used = tokenizer or load_tokenizer(path)
        return OnDisk(config, architecture, used, step, FLOAT32, lambda name, index: read_whole()(name, index))
