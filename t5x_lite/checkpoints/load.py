# SPDX-License-Identifier: Apache-2.0
"""Loads models from checkpoints of any format, and saves them for Hugging Face. Readers are imported on demand."""

import importlib
import os
import pathlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from t5x_lite.checkpoints.weights import LazyModel, reader
from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ENCODER, ENCODER_DECODER, Architecture
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.config.paths import home_expanded
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.reading import reading
from t5x_lite.files.run_config import RUN_CONFIG, read_run_config
from t5x_lite.files.run_path import run_and_step
from t5x_lite.model.encoder import Encoder
from t5x_lite.model.transformer import T5

if TYPE_CHECKING:
    from t5x_lite.model.sentence_head import SentenceHead

RUN, HF = RUN_CONFIG, "config.json"
# The file that identifies each format, and the module whose `open_checkpoint` reads it.
FORMATS = {
    RUN: "t5x_lite.checkpoints.run",
    "model.json": "t5x_lite.checkpoints.native",
    "modules.json": "t5x_lite.checkpoints.sentence",
    HF: "t5x_lite.checkpoints.hf.weights",
}


class Pretrained(NamedTuple):
    """A loaded model with everything needed to run it."""

    model: Any  # a T5, or the model of another `architecture`
    tokenizer: Tokenizer
    config: ModelConfig
    step: int  # number of updates made; 0 if unknown
    architecture: Architecture = ENCODER_DECODER
    generation: GenerationConfig = GenerationConfig()  # decoding settings published with the model
    head: "SentenceHead | None" = None  # of a sentence encoder; see `encode`


def load(
    directory: str | os.PathLike[str],
    mesh: Mesh | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    step: int | None = None,
) -> Pretrained:
    """Loads a model: a checkpoint of a run, or one written by Hugging Face, T5X or `t5x-lite convert`.

    Args:
      directory: the model, whose format is recognised by its files: a run, one of its checkpoints
        (RUN/checkpoints/STEP), or a model directory; a T5X checkpoint may also be a single file.
      mesh: the mesh to shard the parameters over; None loads them onto the default device.
      tokenizer: a replacement for the checkpoint's own tokenizer; required for T5X checkpoints, which have none.
      step: the step of a run's checkpoint; None is the newest.

    Raises:
      ValueError: if the format is not recognised, the run has no such checkpoint, or the checkpoint is damaged.
    """
    path = local_path(directory)
    lazy = open_pretrained(path, tokenizer=tokenizer, step=step)
    tokenizer = check_has_tokenizer(lazy, path)
    generation = generation_config(path, tell=lambda line: print(line, file=sys.stderr))
    return Pretrained(lazy.load(mesh), tokenizer, lazy.config, lazy.step, lazy.architecture, generation, lazy.head)


def local_path(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a public function's directory argument as a path, with `~` expanded."""
    return pathlib.Path(home_expanded(directory, "the directory"))


def run_path(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Returns `local_path`, or the run directory if it is one of a run's checkpoints."""
    return pathlib.Path(run_and_step(local_path(directory))[0])


def open_pretrained(
    directory: str | os.PathLike[str], *, tokenizer: Tokenizer | None = None, step: int | None = None
) -> LazyModel:
    """Opens a model like `load`, without reading its parameters."""
    run, step = run_and_step(local_path(directory), step)
    path = pathlib.Path(run)
    with reading(path):
        reader_module = _reader_module(path)
        if step is None:
            lazy: LazyModel = reader_module.open_checkpoint(path, tokenizer)
        elif (path / RUN).is_file():
            lazy = reader_module.open_checkpoint(path, tokenizer, step)
        else:
            raise ValueError(
                f"{path} is not a run directory, so it has no checkpoint of step {step}: leave out the step"
            )
        if lazy.tokenizer is not None:
            check_ids(lazy.config, lazy.tokenizer, str(path))
    return lazy


def check_ids(config: ModelConfig, tokenizer: Tokenizer, name: str) -> None:
    """Raises ValueError unless a model has all ids of its tokenizer, and the same for padding and EOS."""
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"{name} has vocab_size {config.vocab_size:,}, but its tokenizer has {tokenizer.vocab_size:,} ids: use the "
            "tokenizer that the model was trained with"
        )
    of_model, of_tokenizer = (config.pad_id, config.eos_id), tokenizer.special_ids[:2]
    if of_model != of_tokenizer:
        raise ValueError(
            f"{name} has pad_id {of_model[0]} and eos_id {of_model[1]}, but its tokenizer has {of_tokenizer[0]} and "
            f"{of_tokenizer[1]}: use the tokenizer that the model was trained with"
        )


def _reader_module(path: pathlib.Path) -> ModuleType:
    for marker, module in FORMATS.items():
        if (path / marker).is_file():
            return importlib.import_module(module)
    from t5x_lite.checkpoints.refusals import is_part_of_a_model, why_no_model
    from t5x_lite.checkpoints.t5x import files, model

    if not is_part_of_a_model(path) and files.looks_like_t5x(path):  # no file name is common to its layouts
        return model
    raise ValueError(why_no_model(path, FORMATS))


def check_has_tokenizer(lazy: LazyModel, path: pathlib.Path) -> Tokenizer:
    """Returns the tokenizer of a model; raises ValueError if there is none."""
    if lazy.tokenizer is None:
        raise ValueError(
            f"{path} is a T5X checkpoint, which has no tokenizer: give one with t5x-lite convert --tokenizer or "
            "t5x_lite.load(..., tokenizer=...)"
        )
    return lazy.tokenizer


def trained_length(directory: str | os.PathLike[str]) -> int | None:
    """Returns the input length, in tokens, that a model was trained with; None if unknown."""
    path = run_path(directory)
    if (recorded := read_run_config(path)) is not None:
        section = recorded.get("train")
        return _length(section.get("inputs_length") if isinstance(section, dict) else None)
    if (path / HF).is_file():
        from t5x_lite.files.json_object import read_json

        return _length(read_json(path / HF).get("n_positions"))
    return None


def _length(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def generation_config(
    directory: str | os.PathLike[str], *, tell: Callable[[str], object] = lambda line: None
) -> GenerationConfig:
    """Returns the decoding settings published with a model, or else the defaults.

    Unsupported settings are ignored; `tell` is called with a warning about them.
    """
    path = local_path(directory)
    if not (path / HF).is_file():
        return GenerationConfig()
    from t5x_lite.checkpoints.hf.generation import read_generation_config

    with reading(path):
        return read_generation_config(path, tell=tell)


def save_hf(
    model: T5 | Encoder, tokenizer: Tokenizer, directory: str | os.PathLike[str], *, dtype: str = "float32"
) -> None:
    """Saves a model for `transformers.AutoModelForSeq2SeqLM.from_pretrained`, or an encoder for `T5EncoderModel`.

    Args:
      model: an encoder-decoder, or an encoder alone, whose parameters this process can address.
      tokenizer: the model's tokenizer.
      directory: a new or empty directory, which appears only once it is complete.
      dtype: the dtype to store, float32 or bfloat16.

    Raises:
      ValueError: if the directory is not empty, or transformers does not support the model or tokenizer.
      OSError: if the directory cannot be written.
    """
    from t5x_lite.checkpoints.hf.weights import save_model

    if not isinstance(model, T5 | Encoder):
        raise TypeError(
            f"the model is a {type(model).__name__}, but save_hf takes a T5 or an Encoder: pass its encoder, "
            "model.encoder, or use t5x-lite convert, which knows its labels"
        )
    architecture = ENCODER if isinstance(model, Encoder) else ENCODER_DECODER
    lazy = LazyModel(model.cfg, architecture, tokenizer, 0, np.dtype(np.float32), reader(model))
    save_model(local_path(directory), lazy, tokenizer, dtype=np.dtype(dtype))
