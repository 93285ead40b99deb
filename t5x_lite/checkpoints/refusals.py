# SPDX-License-Identifier: Apache-2.0
"""Says why a path cannot be opened as a model, and what to do about it."""

import os
import pathlib
import re
from collections.abc import Collection

from t5x_lite.files.messages import listed

# A model on the Hugging Face Hub, given by its id or its address.
HUB_ID = re.compile(
    r"(?:(?:https?:/+)?(?:huggingface\.co|hf\.co)/|hf:/+)?((?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*)(?:/tree/main)?"
)
WEIGHTS = (".safetensors", ".bin", ".msgpack", ".h5")
# Ends of the names of files in Hugging Face's and other model directories; those of T5X have no such name.
ENDS = (".safetensors", ".bin", ".json", ".yaml", ".model", ".h5", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".zip")
ENDS += ("flax_model.msgpack",)
MAX_LISTED = 3


def is_part_of_a_model(path: pathlib.Path) -> bool:
    """Returns whether a path is a file that belongs to a model directory, rather than a T5X checkpoint."""
    return path.is_file() and path.name.lower().endswith(ENDS)


def why_no_model(path: pathlib.Path, markers: Collection[str]) -> str:
    """Returns the message for a path that no format recognises, in one line.

    Args:
      markers: names of the files that identify a directory as a model.
    """
    if path.is_file():
        return f"{path} is a file, not a model directory: name the directory that holds it, {path.parent}"
    if path.is_symlink() and not path.exists():
        return f"{path} is a link that leads nowhere, to {os.readlink(path)}: name the model itself"
    if not path.exists():
        return _absent(path)
    for marker in markers:
        if (path / marker).is_symlink():  # to a file that does not exist, or it would have been recognised
            return (
                f"{path / marker} is a link that leads nowhere, to {os.readlink(path / marker)}: restore that file, or "
                "copy the model with `cp -RL` where it is whole"
            )
    patterns = [f"{depth}/{marker}" for depth in ("*", "*/*") for marker in markers]
    inside = sorted({found.parent for pattern in patterns for found in path.glob(pattern)})
    if inside:
        return f"{path} is not a model itself, but there are models in it: name one of {listed(inside, MAX_LISTED)}"
    weights = sorted(found.name for found in path.iterdir() if found.suffix in WEIGHTS)
    if weights:
        return f"{path} has {listed(weights, MAX_LISTED)}, but no config.json: download all files of the model"
    return (
        f"{path} is neither a run directory (no config.yaml), nor a Hugging Face model (no config.json), nor a T5X "
        "checkpoint: name a run directory, or one with config.json and model.safetensors"
    )


def _absent(path: pathlib.Path) -> str:
    match = HUB_ID.fullmatch(str(path))
    if match is None:
        return f"{path} does not exist: name a run directory, a Hugging Face model directory or a T5X checkpoint"
    name = match[1].rpartition("/")[2]
    return (
        f"{path} does not exist: name a directory. For a model on the Hugging Face Hub, download it first (pip install "
        f"huggingface_hub; hf download {match[1]} --local-dir {name}), then name {name}"
    )
