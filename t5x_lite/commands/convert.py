# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite convert`: a model from one form of directory to another, a piece at a time."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from t5x_lite.checkpoints import native
from t5x_lite.checkpoints.hf import weights as hf
from t5x_lite.checkpoints.load import RUN, check_has_tokenizer, open_pretrained
from t5x_lite.checkpoints.run import opened as run_checkpoints
from t5x_lite.checkpoints.t5x.model import TARGET, plain_arrays, untold
from t5x_lite.checkpoints.t5x.optimizer import slots_of
from t5x_lite.checkpoints.t5x.writer import write_t5x
from t5x_lite.checkpoints.weights import LazyModel, Slots
from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers import Tokenizer, build_tokenizer
from t5x_lite.files.atomic_write import new_directory
from t5x_lite.model.architectures import ENCODER_DECODER, abstract

BYTES = ("bytes", "bytes_and_sentinels")
Told = Callable[[int], object]


def run(
    source: str, destination: str, *, format: str = "hf", dtype: str | None = None, tokenizer: str | None = None
) -> None:
    """Writes the model in a directory in another form.

    Args:
      source: a run directory, a model directory of Hugging Face's or ours, or a checkpoint of T5X.
      destination: a new directory.
      format: hf; t5x-lite, our own; or t5x, the plain layout, with the state of the optimizer where there is one.
      dtype: of the numbers written; None is that of the source, float32 for a run. T5X's are float32.
      tokenizer: a SentencePiece model, a tokenizer.json or one of BYTES; None takes the source's own.

    Raises:
      ValueError: if the source is none of these or damaged, the destination holds something, or the form has no such
        model.
      OSError: if it cannot be written.
    """
    chosen = None if tokenizer is None else named_tokenizer(tokenizer)
    found = open_pretrained(source, tokenizer=chosen)
    if format != "t5x-lite" and found.architecture != ENCODER_DECODER:
        raise ValueError(
            f"{source} holds a {found.architecture.name}, and --format {format} has encoder-decoders alone: use "
            "--format t5x-lite"
        )
    if format == "t5x" and dtype not in (None, "float32"):
        raise ValueError(f"--dtype is {dtype}, and T5X keeps its parameters in float32: leave it out")
    kept = np.dtype(dtype) if dtype else np.dtype(np.float32) if format == "t5x" else found.dtype
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract(found.config, found.architecture)))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr)) as bar:
        shown = bar.add_task(f"Writing {count:,} parameters in {kept.name}", total=count * kept.itemsize)
        FORMATS[format](found, pathlib.Path(source), pathlib.Path(destination), kept, lambda n: bar.advance(shown, n))
    print(f"{destination} holds the model: {READERS[format]} reads it", file=sys.stderr)


def named_tokenizer(name: str) -> Tokenizer:
    """Returns the tokenizer that --tokenizer names."""
    kind: Any = name if name in BYTES else "sentencepiece"
    return build_tokenizer(TokenizerConfig(kind=kind, path=None if name in BYTES else name), ())


def to_hf(model: LazyModel, source: pathlib.Path, destination: pathlib.Path, dtype: np.dtype, told: Told) -> None:
    """Writes a model as Hugging Face has them."""
    hf.save_model(destination, model, check_has_tokenizer(model, source), dtype=dtype, progress=told)


def to_own(model: LazyModel, source: pathlib.Path, destination: pathlib.Path, dtype: np.dtype, told: Told) -> None:
    """Writes a model in our own form."""
    native.save_model(destination, model, check_has_tokenizer(model, source), dtype=dtype, progress=told)


def to_t5x(model: LazyModel, source: pathlib.Path, destination: pathlib.Path, dtype: np.dtype, told: Told) -> None:
    """Writes a model, and the state of its optimizer if that is Adafactor, in T5X's plain layout."""
    del dtype
    if unsaid := untold(model.config):
        print(f"T5X's files do not say, and its configuration has to: {', '.join(unsaid)}", file=sys.stderr)
    arrays = plain_arrays(model.config, model.read, slots(model, source))

    def reported(name: str, make: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
        def made() -> np.ndarray:
            array = np.asarray(make())
            told(array.nbytes if name.startswith(TARGET) else 0)
            return array

        return made

    with new_directory(destination) as temporary:
        write_t5x(temporary, {name: reported(name, make) for name, make in arrays.items()}, model.step)


def slots(model: LazyModel, source: pathlib.Path) -> Slots | None:
    """Returns what Adafactor keeps of each parameter, None where there is no state of it."""
    if model.read_slots:
        return model.read_slots()
    if not (source / RUN).is_file():
        return None
    with run_checkpoints(source) as checkpoints:
        kept = slots_of(checkpoints.arrays(model.step, "optimizer"))
    if kept is None:
        print("The state of the optimizer is left out: it is not Adafactor's, which T5X has", file=sys.stderr)
    return kept


FORMATS = {"hf": to_hf, "t5x-lite": to_own, "t5x": to_t5x}
READERS = {
    "hf": "transformers.AutoModelForSeq2SeqLM.from_pretrained",
    "t5x-lite": "t5x_lite.load",
    "t5x": "T5X's Checkpointer",
}
