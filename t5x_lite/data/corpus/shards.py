# SPDX-License-Identifier: Apache-2.0
"""Tokenised text on disk: array_record files of ids, beside them where each document ends.

A shard NAME is three files. `NAME.array_record` holds the ids of all its documents one after the other, cut into blocks
of equal length, so that any stretch of them is read without its neighbours. `NAME.ends.npy` says where each document,
or each side of a pair, ends. `NAME.references.jsonl` is there for held-out pairs: what metrics compare with.

Shape letters: B stretches that are read, E documents, F sides of a document (1 of text, 2 of a pair).
"""

import array
import bisect
import contextlib
import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from t5x_lite.files.atomic_write import written_atomically

# Ids in a record: a chunk of T5's 568 lies in 1.14 of them on average, and reading one takes 20 microseconds.
BLOCK_LENGTH = 4_096
WRITER_OPTIONS = "group_size:1,uncompressed"  # ids hardly compress, and a group would be decompressed whole
READER_OPTIONS = "readahead_buffer_size:0"  # reads are random
DIGEST_BYTES = 16


class Tokens(Protocol):
    """A long stream of ids, read in stretches."""

    def __len__(self) -> int: ...

    def read(self, begin_B: np.ndarray, end_B: np.ndarray) -> list[np.ndarray]:
        """Returns the ids of B stretches of the stream."""
        ...


class ShardCounts(NamedTuple):
    """What a shard holds."""

    num_documents: int
    num_tokens: int
    files: dict[str, dict[str, Any]]  # by name: `bytes` and `blake2b`


class ShardWriter:
    """Writes a shard; its files are there only once it is closed without an error.

    Args:
      directory: for its files.
      name: of the shard.
      dtype: of the ids.
      has_references: whether documents have something for metrics to compare with.
    """

    def __init__(self, directory: pathlib.Path, name: str, dtype: np.dtype, *, has_references: bool = False):
        self._directory, self._name, self._dtype = directory, name, dtype
        self._paths = [directory / f"{name}.array_record", directory / f"{name}.ends.npy"]
        self._paths += [directory / f"{name}.references.jsonl"] if has_references else []
        self._pending: list[np.ndarray] = []
        self._num_pending = self._num_tokens = 0
        self._ends, self._num_documents = array.array("q"), 0
        self.counts: ShardCounts | None = None

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        temporary = [self._stack.enter_context(written_atomically(path)) for path in self._paths]
        self._ends_path = temporary[1]
        self._records = ArrayRecordWriter(str(temporary[0]), WRITER_OPTIONS)
        self._references = self._stack.enter_context(temporary[2].open("w")) if len(temporary) > 2 else None
        return self

    def add(self, sides_F: Sequence[np.ndarray], reference: Mapping[str, Any]) -> None:
        """Appends a document.

        Args:
          sides_F: the ids of each side; as many sides in every document.
          reference: what JSON can say; written if the shard has references.
        """
        self._num_documents += 1
        for ids in sides_F:
            self._pending.append(ids)
            self._num_pending += len(ids)
            self._num_tokens += len(ids)
            self._ends.append(self._num_tokens)
        if self._references is not None:
            self._references.write(json.dumps(reference, ensure_ascii=False) + "\n")
        if self._num_pending >= BLOCK_LENGTH:
            self._write(BLOCK_LENGTH)

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is None:
            self._write(1)
            num_sides = len(self._ends) // max(self._num_documents, 1)
            with self._ends_path.open("wb") as file:
                np.save(file, np.frombuffer(self._ends, np.int64).reshape(self._num_documents, num_sides))
        self._records.close()
        self._stack.__exit__(kind, *rest)
        if kind is None:
            files = {path.name: fingerprint(path) for path in self._paths}
            self.counts = ShardCounts(self._num_documents, self._num_tokens, files)

    def _write(self, fewest: int) -> None:
        """Writes what is pending in blocks, while there are `fewest` ids at least."""
        ids = np.concatenate(self._pending) if self._pending else np.zeros(0, self._dtype)
        begin = 0
        while len(ids) - begin >= fewest:
            self._records.write(ids[begin : begin + BLOCK_LENGTH].astype(self._dtype).tobytes())
            begin += BLOCK_LENGTH
        self._pending = [ids[begin:]]
        self._num_pending = max(len(ids) - begin, 0)


class TokenStream:
    """The ids of several shards, one after the other.

    Args:
      paths: the array_record files; sent to worker processes instead of their contents.
      counts: ids in each.
      dtype: of the ids, as they are stored.
    """

    def __init__(self, paths: Sequence[pathlib.Path], counts: Sequence[int], dtype: np.dtype):
        kept = [i for i, count in enumerate(counts) if count]
        self.paths, self.counts, self.dtype = [paths[i] for i in kept], [counts[i] for i in kept], np.dtype(dtype)
        self._starts = list(itertools.accumulate(self.counts, initial=0))
        self._readers: dict[int, ArrayRecordReader] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    def __reduce__(self):
        return type(self), (self.paths, self.counts, self.dtype)

    def read(self, begin_B: np.ndarray, end_B: np.ndarray) -> list[np.ndarray]:
        """Returns the ids of B stretches; see `Tokens`."""
        # A record at a time: the library reads several by threads, which takes more CPU time than it saves.
        return [self._stretch(int(begin), int(end)) for begin, end in zip(begin_B, end_B, strict=True)]

    def _stretch(self, begin: int, end: int) -> np.ndarray:
        shard, parts = bisect.bisect_right(self._starts, begin) - 1, [np.zeros(0, self.dtype)]
        while begin < end:
            local, stop = begin - self._starts[shard], min(end, self._starts[shard + 1]) - self._starts[shard]
            for block in range(local // BLOCK_LENGTH, -(-stop // BLOCK_LENGTH)):
                first = block * BLOCK_LENGTH
                (content,) = self._reader(shard).read([block])
                parts.append(np.frombuffer(content, self.dtype)[max(local - first, 0) : stop - first])
            begin, shard = self._starts[shard] + stop, shard + 1
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _reader(self, shard: int) -> ArrayRecordReader:
        if shard not in self._readers:
            self._readers[shard] = ArrayRecordReader(str(self.paths[shard]), READER_OPTIONS)
        return self._readers[shard]


def read_ends(directory: pathlib.Path, names: Sequence[str], counts: Sequence[int]) -> np.ndarray:
    """Returns where the documents of several shards end in the stream of all of them: int64 [E, F].

    Args:
      directory: of the shards.
      names: of the shards.
      counts: ids in each.
    """
    starts = itertools.accumulate(counts, initial=0)
    ends = [np.load(directory / f"{name}.ends.npy") + start for name, start in zip(names, starts, strict=False)]
    kept = [ends_EF for ends_EF in ends if len(ends_EF)]
    return np.concatenate(kept) if kept else np.zeros((0, 1), np.int64)


def fingerprint(path: pathlib.Path) -> dict[str, Any]:
    """Returns the size of a file and the hash of its contents."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    return {"bytes": path.stat().st_size, "blake2b": digest.hexdigest()}


def damaged_file(directory: pathlib.Path, files: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Returns what is wrong with the first of some files that is not as it was written, None if all are."""

    def trouble(name: str) -> str | None:
        path, written = directory / name, files[name]
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != written["bytes"]:
            return f"{path} has {size:,} bytes and was written with {written['bytes']:,}"
        return None if fingerprint(path) == written else f"{path} is not what was written: its checksum differs"

    with ThreadPoolExecutor() as threads:
        return next((message for message in threads.map(trouble, files) if message is not None), None)
