# SPDX-License-Identifier: Apache-2.0
"""Tokenises a task's text, once, into shards that training reads in any order.

The records of a source are cut into portions, and each portion is made into shards by itself: in this process, in
several, or anywhere else. What a portion becomes depends on the task and the tokenizer alone, so that a preparation
that is killed goes on, and ends with the bytes of one that was not.
"""

import dataclasses
import json
import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.shards import ShardWriter, damaged_file
from t5x_lite.data.corpus.splits import is_held_out
from t5x_lite.data.records.rows import LeftOut, Row, read_rows
from t5x_lite.data.sources import Opened, open_source
from t5x_lite.data.sources.records import Source
from t5x_lite.data.tokenizers import Tokenizer, load_tokenizer
from t5x_lite.files.atomic_write import write_atomically

SPLITS = ("train", "eval")
PARTS, SOURCES = "parts", "sources"  # both only while a preparation is under way
BATCH_CHARACTERS = 2**20  # of text that is tokenised at once
SHARD_CHARACTERS = 2**22  # of text in a shard, unless that makes more than MOST_SHARDS
MOST_SHARDS = 256
SAMPLED_RECORDS = 64  # to guess how much text there is


class Portion(NamedTuple):
    """Some consecutive records of a source, made into one shard a split."""

    field: str  # of the task that names the source
    splits: tuple[str, ...]  # what the records are divided among
    number: int
    count: int  # portions of the source
    begin: int
    end: int

    def shard(self, split: str) -> str:
        """The name of the shard."""
        return f"{split}-{self.number:05d}-of-{self.count:05d}"

    @property
    def name(self) -> str:
        return f"{self.field}-{self.number:05d}"


class Preparation:
    """What is needed to make any portion anywhere; sent by pickling to those who do.

    Args:
      task: what to read.
      directory: for the shards.
      tokenizer_directory: has the tokenizer.
      splits: which of them are made.
    """

    def __init__(
        self,
        task: TaskConfig,
        directory: pathlib.Path,
        tokenizer_directory: pathlib.Path,
        splits: tuple[str, ...] = SPLITS,
    ):
        self.task, self.directory, self.tokenizer_directory = task, directory, tokenizer_directory
        self.splits = splits
        self._opened: dict[str, Opened] = {}

    def __reduce__(self):
        return type(self), (self.task, self.directory, self.tokenizer_directory, self.splits)

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The fields of the task that name the sources that are read, and the splits each is divided among."""
        has_own = self.task.eval_source is not None
        divided = {"source": SPLITS[:1], "eval_source": SPLITS[1:]} if has_own else {"source": SPLITS}
        return {field: splits for field, splits in divided.items() if set(splits) & set(self.splits)}

    def open(self, field: str) -> Opened:
        """Opens the source that a field of the task names, once a process."""
        if field not in self._opened:
            self._opened[field] = open_source(
                self.task, getattr(self.task, field), self.directory / SOURCES, field=f"task.{field}"
            )
        return self._opened[field]

    def part_path(self, portion: Portion) -> pathlib.Path:
        """Where what is to be known of a portion is written once it is made."""
        return self.directory / PARTS / f"{portion.name}.json"

    def portions(self, num_shards: int | None = None) -> list[Portion]:
        """Cuts the sources up.

        Args:
          num_shards: into how many portions each; None goes by how much text there seems to be.

        Raises:
          ValueError: if a source cannot be opened.
        """
        cut: list[Portion] = []
        for field, splits in self.fields.items():
            source = self.open(field).records
            count = min(num_shards or _guess_shards(self.task, source), len(source))
            edges = [len(source) * i // count for i in range(count + 1)]
            cut += [Portion(field, splits, i, count, edges[i], edges[i + 1]) for i in range(count)]
        return cut


class Worker:
    """Makes portions in one process: the tokenizer is opened once.

    Args:
      preparation: what to make.
    """

    def __init__(self, preparation: Preparation):
        self._preparation = preparation
        self._tokenizer = load_tokenizer(preparation.tokenizer_directory)

    def make(self, portion: Portion) -> dict[str, Any]:
        """Writes the shards of a portion, and then its part of the manifest, which it returns.

        Raises:
          ValueError: if a record is malformed and `task.bad_records` does not say to skip it.
        """
        task, directory = self._preparation.task, self._preparation.directory
        source, skipped = self._preparation.open(portion.field)
        left_out = LeftOut(skipped=list(skipped) if portion.number == 0 else [])
        num_characters, dtype = 0, ids_dtype(self._tokenizer)
        with ExitStack() as stack:
            writers = {
                split: stack.enter_context(
                    ShardWriter(
                        directory,
                        portion.shard(split),
                        dtype,
                        has_references=split == "eval" and task.inputs is not None,
                    )
                )
                for split in portion.splits
                if split in self._preparation.splits
            }
            rows = read_rows(task, source, range(portion.begin, portion.end), left_out)
            for batch in _batches(rows):
                num_characters += self._write(batch, portion.splits, writers)
        part = {
            "portion": list(portion),
            "splits": {split: writer.counts._asdict() for split, writer in writers.items() if writer.counts},
            "num_characters": num_characters,
            "num_short": left_out.num_short,
            "num_skipped": len(left_out.skipped),
            "first_skipped": left_out.skipped[:1],
        }
        content = json.dumps(part)
        write_atomically(self._preparation.part_path(portion), content)
        return json.loads(content)  # as it is read: tuples are lists

    def _write(self, batch: Sequence[Row], splits: Sequence[str], writers: Mapping[str, ShardWriter]) -> int:
        """Writes the rows of the splits that are made; returns how many characters they have."""
        placed = [(row, self._split(row, splits)) for row in batch]
        placed = [(row, split) for row, split in placed if split in writers]
        texts = [text for row, _ in placed for text in row.texts]
        ids = iter(self._tokenizer.encode_batch(texts))
        for row, split in placed:
            writers[split].add([next(ids) for _ in row.texts], row.reference)
        return sum(map(len, texts))

    def _split(self, row: Row, splits: Sequence[str]) -> str:
        is_other = len(splits) > 1 and is_held_out(row.texts[0], self._preparation.task.eval_percent)
        return splits[1] if is_other else splits[0]


def make_portions(
    preparation: Preparation,
    portions: Sequence[Portion],
    *,
    num_workers: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Makes the portions that are not made yet; returns the parts of all of them, in their order.

    Args:
      preparation: what to make.
      portions: all of it.
      num_workers: processes; 0 works in this one.
      progress: is told how many are made, of how many.

    Raises:
      ValueError: as `Worker.make` does.
    """
    parts = {portion: read_part(preparation, portion) for portion in portions}
    missing = [portion for portion in portions if parts[portion] is None]
    progress(len(portions) - len(missing), len(portions))
    with ExitStack() as stack:
        if num_workers and len(missing) > 1:
            pool = ProcessPoolExecutor(
                min(num_workers, len(missing)), get_context("spawn"), initializer=_start, initargs=(preparation,)
            )
            stack.callback(pool.shutdown, cancel_futures=True)
            made = pool.map(_make, missing)
        else:
            made = map(Worker(preparation).make, missing)
        for done, (portion, part) in enumerate(zip(missing, made, strict=True), len(portions) - len(missing) + 1):
            parts[portion] = part
            progress(done, len(portions))
    return [part for part in parts.values() if part is not None]


def read_part(preparation: Preparation, portion: Portion) -> dict[str, Any] | None:
    """Returns what is known of a portion that is made and whole, else None."""
    path = preparation.part_path(portion)
    if not path.is_file():
        return None
    part = json.loads(path.read_text())
    files = {name: entry for counts in part["splits"].values() for name, entry in counts["files"].items()}
    return None if tuple(_tuples(part["portion"])) != portion or damaged_file(preparation.directory, files) else part


def remove_leftovers(directory: pathlib.Path) -> None:
    """Removes what is needed only while a preparation is under way, and what killed ones left."""
    for name in (PARTS, SOURCES):
        shutil.rmtree(directory / name, ignore_errors=True)
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def ids_dtype(tokenizer: Tokenizer) -> np.dtype:
    """The smallest type that has room for the ids."""
    return np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)


def evenly_spread(source: Source, most: int) -> list[int]:
    """Returns the numbers of `most` records of a source, or of all of them if there are fewer."""
    count = min(most, len(source))
    return [i * len(source) // count for i in range(count)]


def _guess_shards(task: TaskConfig, source: Source) -> int:
    numbers = evenly_spread(source, SAMPLED_RECORDS)
    lenient = dataclasses.replace(task, bad_records="skip")
    lengths = [sum(map(len, row.texts)) for row in read_rows(lenient, source, numbers, LeftOut())]
    characters = sum(lengths) / len(numbers) * len(source)
    return min(MOST_SHARDS, 1 + int(characters / SHARD_CHARACTERS))


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += sum(map(len, row.texts))
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tuples(values: Sequence[Any]) -> Iterator[Any]:
    return (tuple(value) if isinstance(value, list) else value for value in values)


_worker: Worker | None = None  # of a process of the pool


def _start(preparation: Preparation) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    _worker = Worker(preparation)


def _make(portion: Portion) -> dict[str, Any]:
    assert _worker is not None
    return _worker.make(portion)
