# SPDX-License-Identifier: Apache-2.0
"""The files of a model's directory, so that nothing is written over them."""

import pathlib

from t5x_lite.config.paths import home_expanded

# Files that are written beside a model, such as answers.jsonl, are not among them.
PATTERNS = (
    "*.yaml",
    "*config.json",
    "model.json",
    "tokenizer*",
    "vocabulary*",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.safetensors*",
    "*.bin*",
    "*.msgpack*",
    "*.h5",
    "modules.json",
    "[0-9]_*/*",  # of sentence-transformers
    "metrics.jsonl",
    "environment.json",
)
FOLDERS = ("checkpoints", "corpus", "tensorboard")


def model_files(directory: str) -> list[pathlib.Path]:
    """Returns the files of a run directory or of a model in any format; a T5X checkpoint may be a file itself."""
    path = pathlib.Path(home_expanded(directory, "--checkpoint"))
    if path.is_file():
        return [path]
    inside = (file for folder in FOLDERS for file in (path / folder).rglob("*"))
    return [file for pattern in PATTERNS for file in path.glob(pattern)] + [file for file in inside if file.is_file()]
