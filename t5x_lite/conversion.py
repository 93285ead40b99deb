# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite convert`: a model from one form of directory to another, a piece at a time."""

import math
import pathlib
import sys

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from t5x_lite.config import ModelConfig
from t5x_lite.interop.hf import HFCheckpoint, is_hf_directory, reader
from t5x_lite.interop.hf_tokenizer import read_tokenizer
from t5x_lite.model.architectures import abstract
from t5x_lite.pretrained import load, write_hf


def run(source: str, destination: str, *, dtype: str | None = None) -> None:
    """Writes the model in a directory as Hugging Face has them.

    Args:
      source: a run directory, or a model directory of Hugging Face's.
      destination: a new directory.
      dtype: of the numbers written; None is that of the source, float32 for a run.

    Raises:
      ValueError: if the source is neither or damaged, or the destination holds something.
      OSError: if it cannot be written.
    """
    path = pathlib.Path(source)
    if is_hf_directory(path) and not (path / "config.yaml").is_file():
        checkpoint = HFCheckpoint(path)
        cfg, tokenizer, read, own = checkpoint.config, read_tokenizer(path), checkpoint.read, checkpoint.dtype
    else:
        model, tokenizer, cfg, *_ = load(path)
        read, own = reader(model), np.dtype(np.float32)
    kept = np.dtype(dtype) if dtype else own
    count = num_parameters(cfg)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr)) as bar:
        shown = bar.add_task(f"Writing {count:,} parameters in {kept.name}", total=count * kept.itemsize)
        write_hf(
            pathlib.Path(destination),
            cfg,
            tokenizer,
            read,
            dtype=kept,
            progress=lambda num_bytes: bar.advance(shown, num_bytes),
        )
    print(
        f"{destination} holds the model: transformers.AutoModelForSeq2SeqLM.from_pretrained reads it", file=sys.stderr
    )


def num_parameters(cfg: ModelConfig) -> int:
    """Returns how many parameters a model has."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract(cfg)))
