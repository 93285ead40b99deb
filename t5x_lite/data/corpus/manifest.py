# SPDX-License-Identifier: Apache-2.0
"""A task's text as ids: prepared once, then opened by every run and worker process.

A run prepares its text in its own directory, or opens what `t5x-lite data prepare` made. Either way a resumed run sees
exactly the same ids, even if the source has changed since. `manifest.json` says what was asked for before anything is
made, and lists every file when all of it is there.

Shape letters: E documents, F sides of a document (1 of text, 2 of a pair).
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from t5x_lite import __version__
from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.corpus.shards import Tokens, TokenStream, damaged_file, read_ends
from t5x_lite.data.corpus.tokenize import SPLITS, Portion, Preparation, ids_dtype, make_portions, remove_leftovers
from t5x_lite.data.sources import Names, named
from t5x_lite.data.tokenizers import Tokenizer, load_tokenizer, tokenizer_hash
from t5x_lite.files.atomic_write import write_atomically

MANIFEST = "manifest.json"
FORMAT = 1  # of the shards and the manifest
# What is asked of the text, and not what the text is: free to change once it is prepared.
OBJECTIVE_FIELDS = frozenset(
    {"prepared", "objective", "noise_density", "mean_noise_span_length", "metrics", "rates", "cap", "temperature"}
)

Announce = Callable[[str], object]
Make = Callable[[Preparation], list[dict[str, Any]]]


def silent(message: str) -> None:
    """Tells nobody."""
    del message


@dataclasses.dataclass(frozen=True)
class Split:
    """The documents that are learned from, or those that are held out.

    Args:
      tokens: their ids, one document after the other without a separator, as T5 has them.
      ends_EF: int64, where each side of each document ends in `tokens`.
      references: of held-out pairs, files of JSON lines with what metrics compare with.
    """

    tokens: Tokens
    ends_EF: np.ndarray
    references: tuple[pathlib.Path, ...] = ()

    @property
    def num_documents(self) -> int:
        return len(self.ends_EF)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """Tokenised text.

    Args:
      tokenizer: what made the ids.
      train: to learn from.
      eval: held out.
      num_characters: of all documents.
      has_pairs: whether documents are inputs and targets of a supervised task.
    """

    tokenizer: Tokenizer
    train: Split
    eval: Split
    num_characters: int
    has_pairs: bool


def prepare(preparation: Preparation, *, announce: Announce = silent, make: Make | None = None) -> None:
    """Makes what of a preparation is not there yet, and then its manifest.

    Args:
      preparation: of a task, with the tokenizer in its place.
      announce: is told about each slow stage as it starts.
      make: makes all portions and returns their parts; None makes them in this process.

    Raises:
      ValueError: if the directory holds another task's preparation.
    """
    task, directory = preparation.task, preparation.directory
    manifest, begun = read_manifest(directory), {"format": FORMAT, "t5x_lite": __version__, "task": plain(task)}
    if "parts" in manifest:
        check_same_task(manifest["task"], begun["task"], directory)
        return
    if manifest and manifest["task"] != begun["task"]:
        remove_leftovers(directory)
    write_manifest(directory, begun)
    announce(f"Tokenising {in_words(task, tuple(preparation.fields))}")
    parts = make(preparation) if make else make_portions(preparation, preparation.portions())
    manifest = begun | _totals(parts) | {"tokenizer": tokenizer_hash(preparation.tokenizer_directory)}
    check_not_empty(task, manifest, preparation.splits)
    for message in _told(task, manifest):
        announce(message)
    write_manifest(directory, manifest)
    remove_leftovers(directory)


def open_corpus(
    directory: pathlib.Path, *, tokenizer_directory: pathlib.Path | None = None, tokenizer: Tokenizer | None = None
) -> Corpus:
    """Opens a finished preparation, once every file of it is checked.

    Args:
      directory: of the shards.
      tokenizer_directory: of the tokenizer; None for `directory`.
      tokenizer: what is in there; None reads it.

    Raises:
      ValueError: if a file is missing, cut off or altered, or the tokenizer is another one.
    """
    manifest = read_manifest(directory)
    splits = [counts for part in manifest["parts"] for counts in part["splits"].values()]
    damage = damaged_file(directory, {name: entry for counts in splits for name, entry in counts["files"].items()})
    if damage:
        raise ValueError(f"{damage}: delete {directory} and prepare the text again")
    tokenizer = tokenizer or load_tokenizer(tokenizer_directory or directory)
    if tokenizer_hash(tokenizer_directory or directory) != manifest["tokenizer"]:
        raise ValueError(
            f"the text in {directory} was tokenised with another tokenizer than that in {tokenizer_directory}: use "
            "another run_dir"
        )
    train, evaluation = (_open_split(directory, manifest, split, ids_dtype(tokenizer)) for split in SPLITS)
    return Corpus(
        tokenizer=tokenizer,
        train=train,
        eval=evaluation,
        num_characters=manifest["num_characters"],
        has_pairs=manifest["task"]["inputs"] is not None,
    )


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
    """Returns the manifest of a directory, empty if it has none.

    Raises:
      ValueError: if it was made by a t5x_lite that had other shards.
    """
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


def write_manifest(directory: pathlib.Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest of a directory."""
    write_atomically(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def plain(task: TaskConfig) -> dict[str, Any]:
    """Returns a task as JSON has it: tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(task)))


def check_same_task(
    stored: dict[str, Any], asked: dict[str, Any], directory: pathlib.Path, section: str = "task"
) -> None:
    """Raises ValueError if another text is asked for than was prepared; names the field.

    Args:
      stored: the task in the manifest.
      asked: fields of a task.
      directory: where the manifest is.
      section: what errors call the task.
    """
    for field, value in asked.items():
        before = stored.get(field)
        if field in OBJECTIVE_FIELDS:
            continue
        if isinstance(value, dict) and isinstance(before, dict) and field != "choices":
            check_same_task(before, value, directory, f"{section}.{field}")
        elif value != before:
            raise ValueError(
                f"{section}.{field} is {value}, and the text in {directory} was made with {before}: use another "
                "directory, or the old value"
            )


def in_words(task: TaskConfig, fields: Sequence[str] = ("source", "eval_source")) -> str:
    """Returns where the text of a task comes from, as far as these fields name it."""

    def words(names: Names) -> str:
        if names != DOCSTRINGS:
            return named(names)
        packages = "the installed packages" if task.packages is None else ", ".join(task.packages)
        return f"the docstrings of {packages}"

    found = [getattr(task, field) for field in fields]
    return " and ".join(words(names) for names in found if names is not None)


def check_not_empty(task: TaskConfig, manifest: dict[str, Any], splits: Sequence[str] = SPLITS) -> None:
    """Raises ValueError if one of the splits that were made is empty; says why."""
    if all(manifest[f"num_{split}_documents"] for split in splits):
        return
    train, evaluation = manifest["num_train_documents"], manifest["num_eval_documents"]
    if "train" not in splits:
        reasons = ", and ".join(_left_out(task, manifest)) or "no record"
        if task.eval_source is None:
            reasons = f"task.eval_percent is {task.eval_percent}: use a larger one, more text, or task.eval_source"
        field = "source" if task.eval_source is None else "eval_source"
        raise ValueError(f"task.{field} {in_words(task, (field,))} has nothing held out: {reasons}")
    if not train + evaluation or task.eval_source is not None:
        empty = task.eval_source if train and task.eval_source is not None else task.source
        raise ValueError(
            f"task.{'eval_source' if train else 'source'} {named(empty)} has nothing to learn from: "
            f"{', and '.join(_left_out(task, manifest)) or 'no record'}"
        )
    raise ValueError(
        f"task.eval_percent {task.eval_percent} leaves {train} documents to train on and {evaluation} held out of "
        f"{train + evaluation}: use another eval_percent, more text, task.text_unit paragraph, or task.eval_source"
    )


def _totals(parts: list[dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {}
    for split, kind in itertools.product(SPLITS, ("documents", "tokens")):
        counts = [part["splits"][split][f"num_{kind}"] for part in parts if split in part["splits"]]
        totals[f"num_{split}_{kind}"] = sum(counts)
    for name in ("num_characters", "num_short", "num_skipped"):
        totals[name] = sum(part[name] for part in parts)
    return totals | {"parts": parts}


def _left_out(task: TaskConfig, manifest: dict[str, Any]) -> list[str]:
    reasons = []
    if manifest["num_short"]:
        what = f"documents shorter than task.min_characters {task.min_characters}"
        if task.inputs is not None:
            what = "pairs with empty inputs or targets"
        reasons.append(f"left out {manifest['num_short']:,} {what}")
    if manifest["num_skipped"]:
        first = next(message for part in manifest["parts"] for message in part["first_skipped"])
        reasons.append(f"skipped {manifest['num_skipped']:,} bad records or files; the first: {first}")
    return reasons


def _told(task: TaskConfig, manifest: dict[str, Any]) -> Iterator[str]:
    """What there is to say of a finished preparation."""
    for reason in _left_out(task, manifest):
        yield reason[0].upper() + reason[1:]
    what = "documents" if task.inputs is None else "pairs"
    documents, tokens = (
        manifest[f"num_train_{kind}"] + manifest[f"num_eval_{kind}"] for kind in ("documents", "tokens")
    )
    yield (
        f"Tokenised {documents:,} {what}, {manifest['num_characters'] / 1e6:.1f} million characters, into "
        f"{tokens / 1e6:.1f} million tokens"
    )


def _open_split(directory: pathlib.Path, manifest: dict[str, Any], split: str, dtype: np.dtype) -> Split:
    parts = [part for part in manifest["parts"] if split in part["splits"]]
    names = [Portion(*part["portion"]).shard(split) for part in parts]
    counts = [part["splits"][split]["num_tokens"] for part in parts]
    references = [directory / f"{name}.references.jsonl" for name in names]
    return Split(
        TokenStream([directory / f"{name}.array_record" for name in names], counts, dtype),
        read_ends(directory, names, counts),
        tuple(path for path in references if path.is_file()),
    )
