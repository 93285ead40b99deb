# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite convert`: converts models between the formats of Hugging Face, T5X and t5x_lite."""

import pathlib
import sys
from typing import Any

import jax
import numpy as np

from t5x_lite.checkpoints import native
from t5x_lite.checkpoints.hf import weights as hf
from t5x_lite.checkpoints.hf.architecture import check_writable, class_name
from t5x_lite.checkpoints.load import RUN, check_has_tokenizer, open_pretrained
from t5x_lite.checkpoints.run import read_slots
from t5x_lite.checkpoints.t5x import writer as t5x
from t5x_lite.checkpoints.t5x.model import unstored_fields
from t5x_lite.checkpoints.weights import LazyModel, Progress, Slots
from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers import build_tokenizer
from t5x_lite.files.progress import ProgressBar
from t5x_lite.model.architectures import ENCODER_DECODER, abstract

BYTES = ("bytes", "bytes_and_sentinels")
READERS = {
    "t5x-lite": "t5x_lite.load",
    "t5x": "T5X's Checkpointer",
}


def run(
    source: str,
    destination: str,
    *,
    step: int | None = None,
    format: str = "hf",
    dtype: str | None = None,
    tokenizer: str | None = None,
) -> None:
    """Writes a model in another format.

    Args:
      source: a run directory, a Hugging Face or t5x_lite model directory, or a T5X checkpoint.
      destination: a new or empty directory.
      step: the step of a run's checkpoint; None is the newest.
      format: a key of READERS; t5x is the plain layout, with the Adafactor state if the source has one.
      dtype: the dtype to store; None keeps the source's, or float32 for a run. T5X only supports float32.
      tokenizer: a SentencePiece model, a tokenizer.json or one of BYTES; None keeps the source's.
    """
    replacement = None
    if tokenizer is not None:
        kind: Any = tokenizer if tokenizer in BYTES else "sentencepiece"
        replacement = build_tokenizer(TokenizerConfig(kind=kind, path=None if tokenizer in BYTES else tokenizer), ())
    model = open_pretrained(source, tokenizer=replacement, step=step)
    if format == "t5x" and model.architecture != ENCODER_DECODER:
        raise ValueError(
            f"{source} is {model.architecture.with_article}, but --format t5x supports only encoder-decoders: use "
            "--format t5x-lite"
        )
    if format == "hf":
        check_writable(model.architecture, source)
    if format == "t5x" and dtype not in (None, "float32"):
        raise ValueError(f"--dtype is {dtype}, but T5X stores parameters in float32: leave it out")
    stored = np.dtype(dtype or ("float32" if format == "t5x" else model.dtype))
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract(model.config, model.architecture)))
    description = f"Writing {count:,} parameters in {stored.name}"
    with ProgressBar(description, count * stored.itemsize, unit="bytes") as bar:
        if not bar.visible:
            bar.print(description)
        if format == "t5x":
            write_t5x(model, pathlib.Path(source), pathlib.Path(destination), bar.advance)
        else:
            save_model = {"hf": hf.save_model, "t5x-lite": native.save_model}[format]
            own = check_has_tokenizer(model, pathlib.Path(source))
            save_model(pathlib.Path(destination), model, own, dtype=stored, progress=bar.advance)
    reader = "sentence_transformers.SentenceTransformer" if model.head and format == "hf" else READERS.get(format)
    reader = reader or f"transformers.{class_name(model.config, model.architecture)}.from_pretrained"
    print(f"{destination} holds the model: load it with {reader}", file=sys.stderr)


def write_t5x(model: LazyModel, source: pathlib.Path, destination: pathlib.Path, progress: Progress) -> None:
    """Writes a T5X checkpoint and reports what it cannot store."""
    if fields := unstored_fields(model.config):
        print(f"T5X checkpoints do not store {', '.join(fields)}: set them in T5X's configuration", file=sys.stderr)
    slots: Slots | None = None
    if model.read_slots:
        slots = model.read_slots()
    elif (source / RUN).is_file() and (slots := read_slots(source, model.step)) is None:
        print("The optimizer state is left out: T5X supports only Adafactor's", file=sys.stderr)
    t5x.save_model(destination, model, slots, progress=progress)
