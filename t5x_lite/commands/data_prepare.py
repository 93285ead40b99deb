# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite data prepare`: tokenises the text of a task once, for any number of runs."""

import os
import pathlib
import sys

from t5x_lite.config import TaskConfig
from t5x_lite.config.commands import PrepareConfig
from t5x_lite.data.corpus.first_look import check_text
from t5x_lite.data.corpus.manifest import MANIFEST, Part
from t5x_lite.data.corpus.open import open_corpora
from t5x_lite.data.corpus.prepare import prepare_text
from t5x_lite.data.corpus.tokenize import Preparation, tokenize_portions
from t5x_lite.data.sources.named_files import task_files
from t5x_lite.data.task_specs import TaskSpecs, resolve_tasks
from t5x_lite.files.half_made import remove_half_made
from t5x_lite.files.lock import LOCK
from t5x_lite.files.messages import rounded
from t5x_lite.files.one_writer import one_filler
from t5x_lite.files.progress import ProgressBar
from t5x_lite.files.same_file import refuse_nesting


def run(task: TaskConfig, cfg: PrepareConfig) -> None:
    """Prepares the missing text of a task in `cfg.output`, then verifies all of it."""
    tasks, directory = resolve_tasks(task), pathlib.Path(cfg.output)
    for single in tasks.each.values():
        if single.prepared is not None:
            raise ValueError(f"task.prepared is {single.prepared}: leave it out to prepare the text of task.source")
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"--output {directory} is a file: name a directory")
    if directory.is_dir() and not (directory / MANIFEST).is_file() and any(map(_is_foreign, directory.iterdir())):
        raise ValueError(f"--output {directory} holds other files: name a new or empty directory")
    for single in tasks.each.values():
        refuse_nesting(directory, task_files(single), "--output")
    is_new = not (directory / MANIFEST).is_file()
    if is_new:
        check_text(tasks)
    with one_filler(directory, "--output"):
        try:
            _prepare(tasks, directory, cfg)
        except BaseException as error:
            if is_new:
                remove_half_made(directory, (), error)
            raise


def _is_foreign(path: pathlib.Path) -> bool:
    """Returns whether a file is neither a lock nor a temporary file of ours, as a killed preparation leaves them."""
    return path.name != LOCK and not (path.name.startswith(f".{MANIFEST}.") and path.suffix == ".tmp")


def _prepare(tasks: TaskSpecs, directory: pathlib.Path, cfg: PrepareConfig) -> None:
    def tokenize(preparation: Preparation) -> list[Part]:
        portions = preparation.portions(cfg.num_shards)
        if cfg.runner == "beam":
            from t5x_lite.data.corpus.beam_runner import tokenize_portions_with_beam  # an extra

            return tokenize_portions_with_beam(preparation, portions, cfg.beam_options)
        num_workers = (os.cpu_count() or 1) if cfg.num_workers is None else cfg.num_workers
        with ProgressBar("Tokenising", len(portions), unit="shards") as bar:
            return tokenize_portions(
                preparation,
                portions,
                num_workers=num_workers,
                progress=lambda done, total: bar.update(completed=done, total=total),
            )

    prepare_text(tasks, directory, announce=lambda message: print(message, file=sys.stderr), tokenize=tokenize)
    for name, corpus in open_corpora(tasks, directory, directory).items():
        size = sum(path.stat().st_size for path in (directory / name).iterdir())
        print(
            f"{directory / name} holds {corpus.train.num_documents:,} training documents and "
            f"{corpus.eval.num_documents:,} held-out ones, {len(corpus.train.tokens) + len(corpus.eval.tokens):,} "
            f"tokens, {rounded(size)} bytes",
            file=sys.stderr,
        )
    print(f"Train on it with --task.prepared {directory}", file=sys.stderr)
