# SPDX-License-Identifier: Apache-2.0
"""Opens finished corpora, the tokenised text of each task of a run.

Shape letters: E documents, F sides of a document (1 for text, 2 for pairs).
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.manifest import is_finished, read_manifest
from t5x_lite.data.corpus.shards import SPLITS, Tokens, TokenStream, damaged_file, ids_dtype, read_ends, shard_name
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.data.tokenizers import KIND_FILE, Tokenizer, load_tokenizer, tokenizer_hash

CORPUS = "corpus"  # the directory of the shards in a run directory


@dataclasses.dataclass(frozen=True)
class Split:
    """The training or held-out documents of a corpus."""

    tokens: Tokens  # the ids of all documents, concatenated without separators, as in T5
    ends_EF: np.ndarray  # the end of each side of each document in `tokens`, int64
    references: tuple[pathlib.Path, ...] = ()  # JSON-lines files of held-out pairs, for metrics

    @property
    def num_documents(self) -> int:
        return len(self.ends_EF)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """The tokenised text of one task."""

    task: TaskConfig  # the run's; its objective and metrics may differ from the prepared task's
    tokenizer: Tokenizer  # the tokenizer that encoded the text
    train: Split
    eval: Split  # the held-out documents
    num_characters: int  # the total length before tokenisation
    has_pairs: bool  # whether documents are (inputs, targets) pairs


Corpora = dict[str, Corpus]  # keyed by task name, as in `TaskSpecs.each`


def tokenizer_of(corpora: Corpora) -> Tokenizer:
    """Returns the tokenizer that encoded the text of all tasks."""
    return next(iter(corpora.values())).tokenizer


def corpus_directory(root: pathlib.Path, name: str, task: TaskConfig) -> pathlib.Path:
    """Returns the directory of a task's shards: `task.prepared` if set, or else `root / name`."""
    return pathlib.Path(task.prepared) if task.prepared is not None else root / name


def is_prepared(tasks: TaskSpecs, directory: pathlib.Path) -> bool:
    """Returns whether all the text of a run directory is prepared."""
    homes = (corpus_directory(directory / CORPUS, name, single) for name, single in tasks.each.items())
    return (directory / KIND_FILE).is_file() and all(is_finished(read_manifest(home)) for home in homes)


def open_corpora(tasks: TaskSpecs, root: pathlib.Path, tokenizer_directory: pathlib.Path) -> Corpora:
    """Opens the finished corpora of a run's tasks, after verifying all checksums.

    Args:
      tasks: the run's tasks.
      root: the directory of the shards, with one subdirectory per task of a mixture.
      tokenizer_directory: the directory of the tokenizer that encoded the text.

    Raises:
      ValueError: if a file is missing, truncated or altered, or the text was tokenised with another tokenizer.
    """
    tokenizer, digest = load_tokenizer(tokenizer_directory), tokenizer_hash(tokenizer_directory)
    corpora = {}
    for name, single in tasks.each.items():
        directory = corpus_directory(root, name, single)
        manifest = read_manifest(directory)
        parts = [counts for part in manifest["parts"] for counts in part["splits"].values()]
        files = {file: written for counts in parts for file, written in counts["files"].items()}
        if damage := damaged_file(directory, files):
            raise ValueError(f"{damage}: delete {directory} and prepare the text again")
        if manifest["tokenizer"] != digest:
            raise ValueError(
                f"the text in {directory} was tokenised with a different tokenizer from the one in "
                f"{tokenizer_directory}: use another run_dir"
            )
        splits = {split: _open_split(directory, manifest, split, ids_dtype(tokenizer)) for split in SPLITS}
        corpora[name] = Corpus(
            task=single,
            tokenizer=tokenizer,
            num_characters=manifest["num_characters"],
            has_pairs=manifest["task"]["inputs"] is not None,
            **splits,
        )
    return corpora


def _open_split(directory: pathlib.Path, manifest: dict[str, Any], split: str, dtype: np.dtype) -> Split:
    parts = [part for part in manifest["parts"] if split in part["splits"]]
    names = [shard_name(split, *part["portion"][2:4]) for part in parts]
    counts = [part["splits"][split]["num_tokens"] for part in parts]
    references = [directory / f"{name}.references.jsonl" for name in names]
    return Split(
        TokenStream([directory / f"{name}.array_record" for name in names], counts, dtype),
        read_ends(directory, names, counts),
        tuple(path for path in references if path.is_file()),
    )
