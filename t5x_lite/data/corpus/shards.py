# SPDX-License-Identifier: Apache-2.0
"""Shards of tokenised text.

A shard NAME has three files. `NAME.array_record` holds the concatenated ids of its documents in blocks of equal length,
for random access; `NAME.ends.npy` holds the offsets at which documents, or the sides of pairs, end; and
`NAME.references.jsonl`, for held-out pairs only, holds the references for metrics.

Shape letters: B slices, E documents, F sides of a document (1 for text, 2 for pairs).
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

from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.atomic_write import written_atomically

SPLITS = ("train", "eval")
# Ids per record. A T5 chunk of 568 ids spans 1.14 records on average, and reading a record takes 20 microseconds.
BLOCK_LENGTH = 4_096
WRITER_OPTIONS = "group_size:1,uncompressed"  # a read would decompress the whole group, and ids hardly compress
READER_OPTIONS = "readahead_buffer_size:0"  # reads are random
DIGEST_BYTES = 16


class Tokens(Protocol):
    """A stream of ids with random access."""

    def __len__(self) -> int: ...

    def read(self, begin_B: np.ndarray, end_B: np.ndarray) -> list[np.ndarray]:
        """Returns the ids of B slices."""
        ...


class ShardCounts(NamedTuple):
    """The contents of a shard."""

    num_documents: int
    num_tokens: int
    files: dict[str, dict[str, Any]]  # `bytes` and `blake2b` by file name


class ShardWriter:
    """Writes a shard, whose files appear only if the context exits without an error."""

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
        self._references = None
        if len(temporary) > 2:
            self._references = self._stack.enter_context(temporary[2].open("w", encoding="utf-8"))
        return self

    def add(self, sides_F: Sequence[np.ndarray], reference: Mapping[str, Any]) -> None:
        """Appends the ids of each side of a document, and its JSON-serialisable reference if the shard has them."""
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

    def _write(self, min_ids: int) -> None:
        """Writes pending ids in blocks while at least `min_ids` are left."""
        ids = np.concatenate(self._pending) if self._pending else np.zeros(0, self._dtype)
        begin = 0
        while len(ids) - begin >= min_ids:
            self._records.write(ids[begin : begin + BLOCK_LENGTH].astype(self._dtype).tobytes())
            begin += BLOCK_LENGTH
        self._pending = [ids[begin:]]
        self._num_pending = max(len(ids) - begin, 0)


class TokenStream:
    """The concatenated ids of array_record files with `counts` ids each; pickled as paths."""

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
        # One record at a time: the library reads several with threads, which cost more CPU time than they save.
        return [self._slice(int(begin), int(end)) for begin, end in zip(begin_B, end_B, strict=True)]

    def _slice(self, begin: int, end: int) -> np.ndarray:
        shard, parts = bisect.bisect_right(self._starts, begin) - 1, [np.zeros(0, self.dtype)]
        while begin < end:
            if shard not in self._readers:
                self._readers[shard] = ArrayRecordReader(str(self.paths[shard]), READER_OPTIONS)
            local, stop = begin - self._starts[shard], min(end, self._starts[shard + 1]) - self._starts[shard]
            for block in range(local // BLOCK_LENGTH, -(-stop // BLOCK_LENGTH)):
                first = block * BLOCK_LENGTH
                (content,) = self._readers[shard].read([block])
                parts.append(np.frombuffer(content, self.dtype)[max(local - first, 0) : stop - first])
            begin, shard = self._starts[shard] + stop, shard + 1
        return parts[1] if len(parts) == 2 else np.concatenate(parts)


def shard_name(split: str, number: int, count: int) -> str:
    """Returns the name of a shard, such as `train-00001-of-00004`."""
    return f"{split}-{number:05d}-of-{count:05d}"


def ids_dtype(tokenizer: Tokenizer) -> np.dtype:
    """Returns the storage dtype of a tokenizer's ids: uint16 if they fit, or else int32."""
    return np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32)


def read_ends(directory: pathlib.Path, names: Sequence[str], counts: Sequence[int]) -> np.ndarray:
    """Returns the offsets at which documents end in the concatenated shards, int64 [E, F].

    `counts` has the number of ids in each shard.
    """
    starts = itertools.accumulate(counts, initial=0)
    ends = [np.load(directory / f"{name}.ends.npy") + start for name, start in zip(names, starts, strict=False)]
    kept = [ends_EF for ends_EF in ends if len(ends_EF)]
    return np.concatenate(kept) if kept else np.zeros((0, 1), np.int64)


def fingerprint(path: pathlib.Path) -> dict[str, Any]:
    """Returns the size and hash of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    return {"bytes": path.stat().st_size, "blake2b": digest.hexdigest()}


def damaged_file(directory: pathlib.Path, files: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Returns an error message about the first missing or altered file, or None if all are intact."""

    def trouble(name: str) -> str | None:
        path, written = directory / name, files[name]
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != written["bytes"]:
            return f"{path} has {size:,} bytes instead of {written['bytes']:,}"
        return None if fingerprint(path) == written else f"{path} was altered: its checksum differs"

    with ThreadPoolExecutor() as threads:
        return next((message for message in threads.map(trouble, files) if message is not None), None)
