# SPDX-License-Identifier: Apache-2.0
"""Prepares the text of a run: builds the tokenizer and tokenises each task into shards with a manifest.

The text is prepared in the run directory, or beforehand by `t5x-lite data prepare`. Either way, a resumed run sees
exactly the same ids, even if the source has changed.
"""

import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.data.corpus.manifest import (
    Part,
    check_not_empty,
    finished_manifest,
    in_words,
    is_finished,
    new_manifest,
    read_manifest,
    summary,
    write_manifest,
)
from t5x_lite.data.corpus.open import CORPUS, Corpora, corpus_directory, open_corpora
from t5x_lite.data.corpus.shards import SPLITS
from t5x_lite.data.corpus.tokenize import Preparation, evenly_spread, remove_leftovers, tokenize_portions
from t5x_lite.data.records.rows import LeftOut, is_held_out, read_rows
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.data.tokenizers import KIND_FILE, build_tokenizer, load_tokenizer, tokenizer_hash

VOCABULARY_RECORDS = 50_000  # per task, spread evenly over the source, to train the vocabulary on

Announce = Callable[[str], object]
Tokenize = Callable[[Preparation], list[Part]]


def prepare_corpora(
    tasks: TaskSpecs,
    directory: pathlib.Path,
    *,
    announce: Announce = lambda message: None,
    splits: tuple[str, ...] = SPLITS,
) -> Corpora:
    """Prepares the missing text of a run directory, and opens all of its text.

    Args:
      tasks: the run's tasks.
      directory: the run directory, to which `corpus/` and the tokenizer are written.
      announce: called with a message before each slow stage.
      splits: the splits to prepare; training needs all of them.

    Raises:
      ValueError: if the directory's text was prepared for another task, or a file is damaged.
    """
    prepare_text(tasks, directory / CORPUS, tokenizer_directory=directory, announce=announce, splits=splits)
    return open_corpora(tasks, directory / CORPUS, directory)


def prepare_text(
    tasks: TaskSpecs,
    root: pathlib.Path,
    *,
    tokenizer_directory: pathlib.Path | None = None,
    announce: Announce = lambda message: None,
    tokenize: Tokenize = lambda preparation: tokenize_portions(preparation, preparation.portions()),
    splits: tuple[str, ...] = SPLITS,
) -> None:
    """Prepares the missing text of all tasks.

    Args:
      tasks: the run's tasks.
      root: the directory for the shards, with one subdirectory per task of a mixture.
      tokenizer_directory: the directory for the tokenizer; None means `root`.
      announce: called with a message before each slow stage.
      tokenize: tokenises all portions of a preparation and returns their parts; by default in this process.
      splits: see `prepare_corpora`.

    Raises:
      ValueError: if `root` holds the text of another task, or a task is invalid.
    """
    tokenizer_directory = tokenizer_directory or root
    preparations = {
        name: Preparation(single, corpus_directory(root, name, single), tokenizer_directory, splits)
        for name, single in tasks.each.items()
    }
    for preparation in preparations.values():
        if preparation.task.prepared is not None:
            from t5x_lite.data.corpus.same_task import check_prepared

            check_prepared(preparation)
    _begin(tasks.whole, root, tokenizer_directory, preparations)
    try:
        if not (tokenizer_directory / KIND_FILE).is_file():  # keep an existing tokenizer: checkpoints may depend on it
            _make_tokenizer(tasks.tokenizer, list(preparations.values()), tokenizer_directory, announce)
        for name, preparation in preparations.items():
            if preparation.task.prepared is None:
                try:
                    _prepare_task(preparation, _prefixed(name, announce), tokenize)
                except ValueError as error:
                    from t5x_lite.data.task_bases import of_task

                    raise of_task(name, error) from error
    except (ValueError, OSError, RuntimeError) as error:
        from t5x_lite.data.corpus.room import make_room

        make_room(preparations.values(), error)
        raise


def _begin(
    task: TaskConfig, root: pathlib.Path, tokenizer_directory: pathlib.Path, preparations: Mapping[str, Preparation]
) -> None:
    """Writes the manifest of `root`, or checks that it matches the task if the text is finished."""
    manifest, asked = read_manifest(root), as_plain(task)
    if manifest and all(is_finished(read_manifest(made.directory)) for made in preparations.values()):
        from t5x_lite.data.corpus.same_task import check_same_task

        check_same_task(manifest["task"], asked, root)
        return
    if manifest and manifest["task"] != asked:  # from a failed attempt with another config
        (tokenizer_directory / KIND_FILE).unlink(missing_ok=True)
        for preparation in preparations.values():
            if preparation.task.prepared is None:
                remove_leftovers(preparation.directory)
    if task.prepared is None:
        write_manifest(root, new_manifest(task))


def _make_tokenizer(
    cfg: TokenizerConfig, preparations: list[Preparation], directory: pathlib.Path, announce: Announce
) -> None:
    prepared = next((made.directory for made in preparations if made.task.prepared is not None), None)
    if prepared is not None:
        # A mixture's tokenizer is in the parent directory of its tasks.
        home = next((home for home in (prepared, *prepared.parents) if (home / KIND_FILE).is_file()), prepared)
        load_tokenizer(home).save(directory)
        return
    if cfg.kind == "sentencepiece" and cfg.path is None:
        text = ", ".join(in_words(preparation.task) for preparation in preparations)
        announce(f"Training a vocabulary of {cfg.vocab_size:,} ids on {text}")
    texts = itertools.chain.from_iterable(map(_vocabulary_texts, preparations))
    build_tokenizer(cfg, texts).save(directory)


def _vocabulary_texts(preparation: Preparation) -> Iterator[str]:
    """Yields training texts from across the source; raises ValueError if there are none."""
    task, left_out, num_held_out, num_train = preparation.task, LeftOut(), 0, 0
    source = preparation.open("source").records
    for row in read_rows(task, source, evenly_spread(source, VOCABULARY_RECORDS), left_out):
        if task.eval_source is None and is_held_out(row.texts[0], task.eval_percent):
            num_held_out += 1
        else:
            num_train += 1
            yield from row.texts
    if not num_train:
        counts = {"num_train_documents": 0, "num_eval_documents": num_held_out, "num_short": left_out.num_short}
        skipped = {"num_skipped": len(left_out.skipped), "parts": [{"first_skipped": left_out.skipped[:1]}]}
        check_not_empty(task, counts | skipped)


def _prepare_task(preparation: Preparation, announce: Announce, tokenize: Tokenize) -> None:
    """Tokenises the missing portions of a task and writes its manifest."""
    task, directory = preparation.task, preparation.directory
    manifest = read_manifest(directory)
    if is_finished(manifest):
        from t5x_lite.data.corpus.same_task import check_same_task

        check_same_task(manifest["task"], as_plain(task), directory)
        return
    write_manifest(directory, new_manifest(task))
    if SPLITS[0] in preparation.splits:
        from t5x_lite.data.corpus.room import check_room

        check_room(preparation)
    announce(f"Tokenising {in_words(task, tuple(preparation.fields))}")
    manifest = finished_manifest(task, tokenize(preparation), tokenizer_hash(preparation.tokenizer_directory))
    check_not_empty(task, manifest, preparation.splits)
    for line in summary(task, manifest):
        announce(line)
    write_manifest(directory, manifest)
    remove_leftovers(directory)


def _prefixed(name: str, announce: Announce) -> Announce:
    return (lambda message: announce(f"{name}: {message}")) if name else announce
