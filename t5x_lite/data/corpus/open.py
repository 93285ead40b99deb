# SPDX-License-Identifier: Apache-2.0
"""The corpora of a run, one for each of its tasks, and the tokenizer that all of them share."""

import contextlib
import itertools
import pathlib
from collections.abc import Iterator

from t5x_lite import __version__
from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.manifest import (
    FORMAT,
    Announce,
    Corpus,
    Make,
    check_not_empty,
    check_same_task,
    in_words,
    open_corpus,
    plain,
    prepare,
    read_manifest,
    silent,
    write_manifest,
)
from t5x_lite.data.corpus.splits import is_held_out
from t5x_lite.data.corpus.tokenize import SPLITS, Preparation, evenly_spread
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import KIND_FILE, build_tokenizer, load_tokenizer

CORPUS = "corpus"
VOCABULARY_RECORDS = 50_000  # of each task, read at most to train a vocabulary, evenly spread over the source

Corpora = dict[str, Corpus]  # by the names of `definitions.tasks_of`


def prepare_corpora(
    task: TaskConfig, directory: pathlib.Path, *, announce: Announce = silent, splits: tuple[str, ...] = SPLITS
) -> Corpora:
    """Makes the corpora of a run directory, or opens those that are there or that `task.prepared` names.

    Args:
      task: resolved; what to read and how to tokenise it.
      directory: the run directory; gets `corpus/` and the tokenizer's files.
      announce: is told about each slow stage as it starts.
      splits: which of them are made; the directory is of no use for a run unless it is all.

    Raises:
      ValueError: if a corpus was made for another task, or one of its files is damaged.
    """
    prepare_all(task, directory / CORPUS, tokenizer_directory=directory, announce=announce, splits=splits)
    tokenizer = load_tokenizer(directory)
    return {
        name: open_corpus(home_of(directory / CORPUS, name, single), tokenizer_directory=directory, tokenizer=tokenizer)
        for name, single in tasks_of(task).items()
    }


def prepare_all(
    task: TaskConfig,
    root: pathlib.Path,
    *,
    tokenizer_directory: pathlib.Path | None = None,
    announce: Announce = silent,
    make: Make | None = None,
    splits: tuple[str, ...] = SPLITS,
) -> None:
    """Makes what is not there yet of the corpora of all tasks.

    Args:
      task: resolved.
      root: gets the shards, those of a mixture in a directory for each task.
      tokenizer_directory: gets the tokenizer; None for `root`.
      announce: is told about each slow stage as it starts.
      make: makes all portions of a preparation and returns their parts; None makes them in this process.
      splits: which of them are made.

    Raises:
      ValueError: if `root` holds another task's, or a task is wrong.
    """
    tokenizer_directory = tokenizer_directory or root
    preparations = {
        name: Preparation(single, home_of(root, name, single), tokenizer_directory, splits)
        for name, single in tasks_of(task).items()
    }
    for preparation in preparations.values():
        _check_prepared(preparation)
    asked, begun = plain(task), read_manifest(root)
    if begun and all("parts" in read_manifest(preparation.directory) for preparation in preparations.values()):
        check_same_task(begun["task"], asked, root)
    else:
        if begun and begun["task"] != asked:
            # A first try that failed, perhaps because of what has been mended since.
            (tokenizer_directory / KIND_FILE).unlink(missing_ok=True)
        if task.prepared is None:
            write_manifest(root, {"format": FORMAT, "t5x_lite": __version__, "task": asked})
    if not (tokenizer_directory / KIND_FILE).is_file():  # a checkpoint may depend on a tokenizer that is there
        _make_tokenizer(task, list(preparations.values()), tokenizer_directory, announce)
    for name, preparation in preparations.items():
        if preparation.task.prepared is None:
            with _of_task(name):
                prepare(preparation, announce=_announcer(name, announce), make=make)


def is_prepared(task: TaskConfig, directory: pathlib.Path) -> bool:
    """Whether a run directory has all its text, so that `prepare_corpora` would write nothing."""
    homes = (home_of(directory / CORPUS, name, single) for name, single in tasks_of(task).items())
    return (directory / KIND_FILE).is_file() and all("parts" in read_manifest(home) for home in homes)


@contextlib.contextmanager
def _of_task(name: str) -> Iterator[None]:
    """Says which task of a mixture an error is about."""
    try:
        yield
    except ValueError as error:
        if not name:
            raise
        raise ValueError(f"task.mixture.tasks.{name.replace('/', '.mixture.tasks.')}: {error}") from error


def _announcer(name: str, announce: Announce) -> Announce:
    return (lambda message: announce(f"{name}: {message}")) if name else announce


def home_of(root: pathlib.Path, name: str, task: TaskConfig) -> pathlib.Path:
    """Returns the directory of a task's shards: what `task.prepared` names, or its own under the root of all."""
    return pathlib.Path(task.prepared) if task.prepared is not None else root / name


def _check_prepared(preparation: Preparation) -> None:
    """Raises ValueError if what `task.prepared` names is not finished, or was made of another task."""
    task, directory = preparation.task, preparation.directory
    if task.prepared is None:
        return
    manifest = read_manifest(directory)
    if "parts" not in manifest:
        raise ValueError(
            f"task.prepared {directory} is not a finished preparation: make one with t5x-lite data prepare --output "
            f"{directory}"
        )
    check_same_task(manifest["task"], {name: plain(task)[name] for name in task.given()}, directory)


def _make_tokenizer(
    task: TaskConfig, preparations: list[Preparation], directory: pathlib.Path, announce: Announce
) -> None:
    prepared = next((made.directory for made in preparations if made.task.prepared is not None), None)
    if prepared is not None:
        # That of a mixture is above its tasks.
        home = next((home for home in (prepared, *prepared.parents) if (home / KIND_FILE).is_file()), prepared)
        load_tokenizer(home).save(directory)
        return
    cfg = task.tokenizer
    if cfg.kind == "sentencepiece" and cfg.path is None:
        text = ", ".join(in_words(preparation.task) for preparation in preparations)
        announce(f"Training a vocabulary of {cfg.vocab_size:,} ids on {text}")
    texts = itertools.chain.from_iterable(map(training_texts, preparations))
    build_tokenizer(cfg, texts).save(directory)


def training_texts(preparation: Preparation) -> Iterator[str]:
    """Yields the texts a vocabulary is trained on: those that are learned from, of records spread over the source.

    Raises:
      ValueError: if there are none.
    """
    task, left_out, num_held_out, num_train = preparation.task, LeftOut(), 0, 0
    source = preparation.open("source").records
    for row in read_rows(task, source, evenly_spread(source, VOCABULARY_RECORDS), left_out):
        if task.eval_source is None and is_held_out(row.texts[0], task.eval_percent):
            num_held_out += 1
        else:
            num_train += 1
            yield from row.texts
    if not num_train:
        check_not_empty(
            task,
            {
                "num_train_documents": 0,
                "num_eval_documents": num_held_out,
                "num_short": left_out.num_short,
                "num_skipped": len(left_out.skipped),
                "parts": [{"first_skipped": left_out.skipped[:1]}],
            },
        )
