# SPDX-License-Identifier: Apache-2.0
"""The manifest of a corpus, `manifest.json`.

It holds only the task while the text is being prepared. The counts and the checksums of the files are added at the end,
so a manifest with `parts` is finished.
"""

import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from t5x_lite import __version__
from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.data.corpus.shards import SPLITS
from t5x_lite.data.sources import Names, named
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.messages import rounded

MANIFEST = "manifest.json"
FORMAT = 1  # version of the shards and the manifest

Part = dict[str, Any]  # the counts and files of a portion
Manifest = dict[str, Any]


def new_manifest(task: TaskConfig) -> Manifest:
    """Returns the manifest of an unfinished preparation."""
    return {"format": FORMAT, "t5x_lite": __version__, "task": as_plain(task)}


def finished_manifest(task: TaskConfig, parts: list[Part], tokenizer: str) -> Manifest:
    """Returns the manifest of a finished preparation, given its `parts` in order and its `tokenizer_hash`."""
    totals: Manifest = {}
    for split, kind in itertools.product(SPLITS, ("documents", "tokens")):
        counts = [part["splits"][split][f"num_{kind}"] for part in parts if split in part["splits"]]
        totals[f"num_{split}_{kind}"] = sum(counts)
    for name in ("num_characters", "num_short", "num_skipped"):
        totals[name] = sum(part[name] for part in parts)
    return new_manifest(task) | totals | {"parts": parts, "tokenizer": tokenizer}


def is_finished(manifest: Manifest) -> bool:
    """Returns whether the preparation is finished."""
    return "parts" in manifest


def read_manifest(directory: pathlib.Path) -> Manifest:
    """Returns the manifest of a directory, or {} if it has none; raises ValueError if its format is unsupported."""
    path = directory / MANIFEST
    if not path.is_file():
        return {}
    manifest = json.loads(path.read_text())
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {manifest.get('format')}, and t5x_lite {__version__} reads {FORMAT}: delete "
            f"{directory} and prepare the text again"
        )
    return manifest


def write_manifest(directory: pathlib.Path, manifest: Manifest) -> None:
    """Writes the manifest of a directory."""
    write_atomically(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def in_words(task: TaskConfig, fields: Sequence[str] = ("source", "eval_source")) -> str:
    """Describes the sources in these fields of a task, for messages."""

    def words(names: Names) -> str:
        if names != DOCSTRINGS:
            return named(names)
        packages = "the installed packages" if task.packages is None else ", ".join(task.packages)
        return f"the docstrings of {packages}"

    sources = [getattr(task, field) for field in fields]
    return " and ".join(words(names) for names in sources if names is not None)


def check_not_empty(task: TaskConfig, manifest: Manifest, splits: Sequence[str] = SPLITS) -> None:
    """Raises ValueError, with the reason, if a prepared split has no documents."""
    if all(manifest[f"num_{split}_documents"] for split in splits):
        return
    train, evaluation = manifest["num_train_documents"], manifest["num_eval_documents"]
    reasons = ", and ".join(_left_out(task, manifest)) or "it has no record"
    if "train" not in splits:
        field = "source" if task.eval_source is None else "eval_source"
        if task.eval_source is None:
            reasons = f"task.eval_percent is {task.eval_percent}: use a larger one, more text, or task.eval_source"
        raise ValueError(f"task.{field} {in_words(task, (field,))} has no held-out documents: {reasons}")
    if not train + evaluation or task.eval_source is not None:
        field = "eval_source" if train else "source"
        empty = task.eval_source if train and task.eval_source is not None else task.source
        raise ValueError(f"task.{field} {named(empty)} has no usable documents: {reasons}")
    raise ValueError(
        f"task.eval_percent {task.eval_percent} splits {train + evaluation} documents into {train} for training and "
        f"{evaluation} held out: use another eval_percent, more text, task.text_unit paragraph, or task.eval_source"
    )


def summary(task: TaskConfig, manifest: Manifest) -> list[str]:
    """Returns the lines of the report on a finished preparation."""
    unit = "documents" if task.inputs is None else "pairs"
    documents, tokens = (
        manifest[f"num_train_{kind}"] + manifest[f"num_eval_{kind}"] for kind in ("documents", "tokens")
    )
    return [
        *(reason[0].upper() + reason[1:] for reason in _left_out(task, manifest)),
        f"Tokenised {documents:,} {unit}, {rounded(manifest['num_characters'])} characters, into "
        f"{rounded(tokens)} tokens",
    ]


def _left_out(task: TaskConfig, manifest: Manifest) -> list[str]:
    reasons = []
    if manifest["num_short"]:
        short = f"documents shorter than task.min_characters {task.min_characters}"
        if task.inputs is not None:
            short = "pairs with empty inputs or targets"
        reasons.append(f"left out {manifest['num_short']:,} {short}")
    if manifest["num_skipped"]:
        first = next(message for part in manifest["parts"] for message in part["first_skipped"])
        reasons.append(f"skipped {manifest['num_skipped']:,} bad records or files; the first: {first}")
    return reasons
