# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite data prepare`: a task's text, tokenised once, in a directory that any run can read."""

import os
import pathlib
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from t5x_lite.config import PrepareConfig, TaskConfig
from t5x_lite.data.corpus.manifest import open_corpus
from t5x_lite.data.corpus.open import prepare_all
from t5x_lite.data.corpus.tokenize import Portion, Preparation, make_portions
from t5x_lite.data.task_specs import resolved, tasks_of


def run(task: TaskConfig, cfg: PrepareConfig) -> None:
    """Makes what is not there yet of a preparation, then checks all of it.

    Args:
      task: what to read and how to tokenise it.
      cfg: where to, and by how many.

    Raises:
      ValueError: if the task is wrong, its source is damaged, or the directory holds something else.
      OSError: if the directory cannot be written.
    """
    task = resolved(task)
    for single in tasks_of(task).values():
        if single.prepared is not None:
            raise ValueError(f"task.prepared is {single.prepared}: leave it out, to prepare from task.source")
    directory = pathlib.Path(cfg.output)
    _check_directory(directory)

    def make(preparation: Preparation) -> list[dict]:
        portions = preparation.portions(cfg.num_shards)
        if cfg.runner == "beam":
            from t5x_lite.data.corpus.beam_runner import make_portions_with_beam  # an extra

            return make_portions_with_beam(preparation, portions, cfg.beam_options)
        return _make_here(preparation, portions, cfg.num_workers)

    prepare_all(task, directory, announce=_say, make=make)
    for name in tasks_of(task):
        corpus = open_corpus(directory / name, tokenizer_directory=directory)
        size = sum(path.stat().st_size for path in (directory / name).iterdir()) / 1e6
        _say(
            f"{directory / name} holds {corpus.train.num_documents:,} documents to train on and "
            f"{corpus.eval.num_documents:,} held out, {len(corpus.train.tokens) + len(corpus.eval.tokens):,} tokens, "
            f"{size:.1f} MB"
        )
    _say(f"--task.prepared {directory} trains from it")


def _make_here(preparation: Preparation, portions: list[Portion], num_workers: int | None) -> list[dict]:
    columns = (
        TextColumn("Tokenising"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("shards"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        shown = bar.add_task("shards", total=len(portions))
        return make_portions(
            preparation,
            portions,
            num_workers=(os.cpu_count() or 1) if num_workers is None else num_workers,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )


def _check_directory(directory: pathlib.Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"--output {directory} is a file: name a directory")
    foreign = directory.is_dir() and any(directory.iterdir()) and not (directory / "manifest.json").is_file()
    if foreign:
        raise ValueError(f"--output {directory} holds something else: name a new or empty directory")


def _say(message: str) -> None:
    print(message, file=sys.stderr)
