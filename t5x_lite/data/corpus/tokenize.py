# SPDX-License-Identifier: Apache-2.0
"""Tokenises the text of a task into shards, portion by portion, in one or more processes.

A portion is a range of a source's records. Its shards depend only on the task and the tokenizer, so any process can
tokenise it, and resuming a killed preparation yields the same bytes.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.manifest import Part
from t5x_lite.data.corpus.shards import SPLITS, ShardWriter, damaged_file, ids_dtype, shard_name
from t5x_lite.data.records.rows import LeftOut, Row, is_held_out, read_rows
from t5x_lite.data.sources import Opened, open_source
from t5x_lite.data.sources.base import Source
from t5x_lite.data.tokenizers import load_tokenizer
from t5x_lite.files.atomic_write import write_atomically

PARTS, SOURCES = "parts", "sources"  # directories that exist only during a preparation
BATCH_CHARACTERS = 2**20  # per call of the tokenizer
SHARD_CHARACTERS = 2**22  # per shard, unless there would be more than MAX_SHARDS
MAX_SHARDS = 256
SAMPLED_RECORDS = 64  # for the estimate of the total length


class Portion(NamedTuple):
    """A range of a source's records, which becomes one shard per split."""

    field: str  # the task field that names the source
    splits: tuple[str, ...]  # the splits to divide the records into
    number: int
    count: int  # the number of portions of the source
    begin: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.field}-{self.number:05d}"


@dataclasses.dataclass
class Preparation:
    """Everything a worker needs to tokenise portions of a task; pickled without its open sources."""

    task: TaskConfig
    directory: pathlib.Path
    tokenizer_directory: pathlib.Path
    splits: tuple[str, ...] = SPLITS
    _opened: dict[str, Opened] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __reduce__(self):
        return type(self), (self.task, self.directory, self.tokenizer_directory, self.splits)

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The task fields that name sources, with the splits to divide each source into."""
        has_own = self.task.eval_source is not None
        divided = {"source": SPLITS[:1], "eval_source": SPLITS[1:]} if has_own else {"source": SPLITS}
        return {field: splits for field, splits in divided.items() if set(splits) & set(self.splits)}

    def open(self, field: str) -> Opened:
        """Opens the source in a field of the task, once per process."""
        if field not in self._opened:
            self._opened[field] = open_source(
                self.task, getattr(self.task, field), self.directory / SOURCES, field=f"task.{field}"
            )
        return self._opened[field]

    def portions(self, num_shards: int | None = None) -> list[Portion]:
        """Divides each source into `num_shards` portions; None estimates the number from the amount of text."""
        portions: list[Portion] = []
        for field, splits in self.fields.items():
            source = self.open(field).records
            count = min(num_shards or _estimate_shards(self.task, source), len(source))
            edges = [len(source) * i // count for i in range(count + 1)]
            portions += [Portion(field, splits, i, count, edges[i], edges[i + 1]) for i in range(count)]
        return portions

    def part_path(self, portion: Portion) -> pathlib.Path:
        """Returns the file that holds the part of a finished portion until the manifest is written."""
        return self.directory / PARTS / f"{portion.name}.json"

    def read_part(self, portion: Portion) -> Part | None:
        """Returns the part of a portion if it is finished and its files are intact, or else None."""
        path = self.part_path(portion)
        if not path.is_file():
            return None
        part = json.loads(path.read_text())
        files = {name: entry for counts in part["splits"].values() for name, entry in counts["files"].items()}
        is_same = part["portion"] == json.loads(json.dumps(portion))
        return part if is_same and not damaged_file(self.directory, files) else None


def tokenize_portions(
    preparation: Preparation,
    portions: Sequence[Portion],
    *,
    num_workers: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Part]:
    """Tokenises the unfinished portions and returns the parts of all portions, in order.

    Args:
      portions: all portions of the preparation.
      num_workers: the number of worker processes; 0 means this process.
      progress: called with the number of finished portions and the total.

    Raises:
      ValueError: if a record is malformed, unless `task.bad_records` is skip.
    """
    parts = {portion: preparation.read_part(portion) for portion in portions}
    missing = [portion for portion in portions if parts[portion] is None]
    progress(len(portions) - len(missing), len(portions))
    with ExitStack() as stack:
        if num_workers and len(missing) > 1:
            from t5x_lite.data.corpus.workers import tokenized

            made = tokenized(preparation, missing, min(num_workers, len(missing)), stack)
        else:
            made = map(PortionTokenizer(preparation).tokenize, missing)
        for done, (portion, part) in enumerate(zip(missing, made, strict=True), len(portions) - len(missing) + 1):
            parts[portion] = part
            progress(done, len(portions))
    return [part for part in parts.values() if part is not None]


class PortionTokenizer:
    """Tokenises portions in one process."""

    def __init__(self, preparation: Preparation):
        self._preparation = preparation
        self._tokenizer = load_tokenizer(preparation.tokenizer_directory)

    def tokenize(self, portion: Portion) -> Part:
        """Writes the shards of a portion, then writes and returns its part of the manifest."""
        preparation, task = self._preparation, self._preparation.task
        source, skipped = preparation.open(portion.field)
        left_out = LeftOut(skipped=list(skipped) if portion.number == 0 else [])
        num_characters, dtype = 0, ids_dtype(self._tokenizer)
        with ExitStack() as stack:
            writers: dict[str, ShardWriter] = {}
            for split in portion.splits:
                if split in preparation.splits:
                    name = shard_name(split, portion.number, portion.count)
                    has_references = split == "eval" and task.inputs is not None
                    writer = ShardWriter(preparation.directory, name, dtype, has_references=has_references)
                    writers[split] = stack.enter_context(writer)
            for batch in _batches(read_rows(task, source, range(portion.begin, portion.end), left_out)):
                num_characters += self._write(batch, portion.splits, writers)
        part = {
            "portion": portion,
            "splits": {split: writer.counts._asdict() for split, writer in writers.items() if writer.counts},
            "num_characters": num_characters,
            "num_short": left_out.num_short,
            "num_skipped": len(left_out.skipped),
            "first_skipped": left_out.skipped[:1],
        }
        content = json.dumps(part)
        write_atomically(preparation.part_path(portion), content)
        return json.loads(content)  # with lists instead of tuples, as from `read_part`

    def _write(self, batch: Sequence[Row], splits: Sequence[str], writers: Mapping[str, ShardWriter]) -> int:
        """Writes the rows whose splits have a writer, and returns their number of characters."""
        eval_percent = self._preparation.task.eval_percent
        placed = [(row, splits[-1] if is_held_out(row.texts[0], eval_percent) else splits[0]) for row in batch]
        placed = [(row, split) for row, split in placed if split in writers]
        texts = [text for row, _ in placed for text in row.texts]
        ids = iter(self._tokenizer.encode_batch(texts))
        for row, split in placed:
            writers[split].add([next(ids) for _ in row.texts], row.reference)
        return sum(map(len, texts))


def remove_leftovers(directory: pathlib.Path) -> None:
    """Removes the temporary files of a preparation, even of a killed one."""
    for name in (PARTS, SOURCES):
        shutil.rmtree(directory / name, ignore_errors=True)
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def evenly_spread(source: Source, max_records: int) -> list[int]:
    """Returns the numbers of at most `max_records` records, spread evenly over a source."""
    count = min(max_records, len(source))
    return [i * len(source) // count for i in range(count)]


def _estimate_shards(task: TaskConfig, source: Source) -> int:
    numbers = evenly_spread(source, SAMPLED_RECORDS)
    lenient = dataclasses.replace(task, bad_records="skip")
    lengths = [sum(map(len, row.texts)) for row in read_rows(lenient, source, numbers, LeftOut())]
    characters = sum(lengths) / len(numbers) * len(source)
    return min(MAX_SHARDS, 1 + int(characters / SHARD_CHARACTERS))


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
