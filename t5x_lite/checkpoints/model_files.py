# SPDX-License-Identifier: Apache-2.0
"""The files of a model's directory, so that nothing is written over them."""

import pathlib
from collections.abc import Iterator

from t5x_lite.files.run_path import run_and_step

# Suffixes of files that commands may write beside a model, and names with such a suffix that belong to a model.
OUTPUTS = {".jsonl", ".npy", ".html", ".png", ".svg", ".txt"}
OF_A_MODEL = {"checkpoints", "corpus", "tensorboard", "metrics.jsonl", "merges.txt", "vocab.txt"}


def model_files(directory: str) -> Iterator[pathlib.Path]:
    """Yields the files of a run, also for one of its checkpoints, or of a model; a T5X checkpoint may be a file."""
    path = pathlib.Path(run_and_step(directory)[0])
    if path.is_file():
        yield path
    for file in path.rglob("*"):
        if OUTPUTS.isdisjoint(file.suffixes) or file.relative_to(path).parts[0] in OF_A_MODEL:
            yield file
