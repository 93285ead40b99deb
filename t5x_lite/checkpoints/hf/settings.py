# SPDX-License-Identifier: Apache-2.0
"""Settings of a Hugging Face model directory that affect what transformers returns, but are not followed here."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from t5x_lite.checkpoints.hf.config import CONFIG_FILE, read_json

TOKENIZER_CONFIG = "tokenizer_config.json"
# Settings of the tokenizer that transformers follows, with the value that has no effect.
TOKENIZER_SETTINGS = {"truncation_side": "right", "split_special_tokens": False, "clean_up_tokenization_spaces": False}


def unfollowed_settings(directory: pathlib.Path) -> str | None:
    """Returns a line about ignored settings in `config.json` and `tokenizer_config.json`, or None."""
    parts = [*_of_model(_fields(directory, CONFIG_FILE)), *_of_tokenizer(_fields(directory, TOKENIZER_CONFIG))]
    return f"{directory} sets {', '.join(parts)}: ignored" if parts else None


def _of_model(fields: Mapping[str, Any]) -> Iterator[str]:
    if fields.get("prefix"):
        yield f"prefix {fields['prefix']!r:.40} (begin the inputs with it)"
    tasks = fields.get("task_specific_params")
    if isinstance(tasks, dict) and tasks:
        prefixes = [task.get("prefix") for task in tasks.values() if isinstance(task, dict)]
        given = ", ".join(repr(prefix) for prefix in prefixes if isinstance(prefix, str) and prefix)
        yield "task_specific_params" + (f" (begin the inputs with one of {given:.200})" if given else "")


def _of_tokenizer(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, usual in TOKENIZER_SETTINGS.items():
        if fields.get(name, usual) not in (usual, None):
            yield f"{name} {fields[name]!r:.40}"
    if fields.get("chat_template"):
        yield "chat_template"


def _fields(directory: pathlib.Path, name: str) -> dict[str, Any]:
    return read_json(directory / name) if (directory / name).is_file() else {}
