# SPDX-License-Identifier: Apache-2.0
"""The manifest of a corpus, `manifest.json`.

It holds only the task while the text is being prepared. The counts and the checksums of the files are added at the end,
so a manifest with `parts` is finished.
"""

import itertools
import json
import pathlib
import zlib
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
DIGEST = "digest"  # key of the checksum of the manifest's other fields

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
    """Returns the manifest of a directory, or {} if it has none; ValueError if it is damaged or of another format."""
    path = directory / MANIFEST
    if not path.is_file():
        return {}
    try:
        manifest = json.loads(path.read_text())
        written, found = manifest.pop(DIGEST, None), manifest.get("format")
    except (ValueError, AttributeError, TypeError):
        written, manifest, found = 0, {}, FORMAT
    if found != FORMAT:
        raise ValueError(
            f"{path} has format {found}, and t5x_lite {__version__} reads {FORMAT}: delete {directory} and prepare the "
            "text again"
        )
    if written not in (None, _digest(manifest)):  # earlier versions wrote none
        raise ValueError(f"{path} is damaged: restore it, or delete {directory} and prepare the text again")
    return manifest


def write_manifest(directory: pathlib.Path, manifest: Manifest) -> None:
    """Writes the manifest of a directory."""
    content = json.dumps({**manifest, DIGEST: _digest(manifest)}, indent=2)
    write_atomically(directory / MANIFEST, content + "\n")


def _digest(manifest: Manifest) -> int:
    return zlib.crc32(json.dumps(manifest).encode())


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
    if not all(manifest[f"num_{split}_documents"] for split in splits):
        from t5x_lite.data.corpus.left_out import no_documents

        raise no_documents(task, manifest, splits)


def summary(task: TaskConfig, manifest: Manifest) -> list[str]:
    """Returns the lines of the report on a finished preparation."""
    unit = "documents" if task.inputs is None else "pairs"
    documents, tokens = (
        manifest[f"num_train_{kind}"] + manifest[f"num_eval_{kind}"] for kind in ("documents", "tokens")
    )
    lines = []
    if manifest["num_short"] or manifest["num_skipped"]:
        from t5x_lite.data.corpus.left_out import left_out

        lines = [reason[0].upper() + reason[1:] for reason in left_out(task, manifest)]
    return [
        *lines,
        f"Tokenised {documents:,} {unit}, {rounded(manifest['num_characters'])} characters, into "
        f"{rounded(tokens)} tokens",
    ]
