# SPDX-License-Identifier: Apache-2.0
"""Batches of examples, each a pure function of (seed, its index in the stream).

Nothing else decides what an example is, so the global batch is the same for any number of hosts and workers, and a run
resumes exactly by starting at another index.

Shape letters: B rows of a batch, L tokens of a chunk, S tokens the encoder reads, T tokens the decoder predicts.
"""

import atexit
import dataclasses
import mmap
import weakref
from collections.abc import Generator, Iterable

import grain
import numpy as np
from absl import flags

from t5x_lite.config import DataConfig
from t5x_lite.data.objectives import SpanCorruption
from t5x_lite.data.tokenizer import Tokenizer

# Evaluations mask the same tokens whatever the run's seed, so that runs can be compared.
EVAL_SEED = 20_191_023

Batch = dict[str, np.ndarray]


def train_batches(
    tokens: np.ndarray,
    objective: SpanCorruption,
    *,
    batch_size: int,
    data: DataConfig,
    start_example: int = 0,
    rows: slice = slice(None),
) -> Generator[Batch, None, None]:
    """Endless batches; every chunk once an epoch, in another order and with other spans each time.

    Args:
      tokens: a stream of ids, cut into consecutive chunks; if memory-mapped, workers map it too.
      objective: how a chunk becomes an example; its seed also orders them.
      batch_size: rows of the global batch, over all hosts.
      data: workers and prefetching.
      start_example: examples to skip, those of the steps already made.
      rows: the part of each global batch that this host makes.

    Returns:
      A generator of {"inputs": int32 [b, S], "targets": int32 [b, T]}, where b counts `rows`. Closing or dropping it
      ends the workers.

    Raises:
      ValueError: if there are too few tokens for one chunk.
    """
    make_batch = _MakeBatch(tokens, objective, rows, start_example)
    stream = (
        grain.MapDataset.range(make_batch.num_chunks)
        .seed(objective.seed)
        .shuffle()
        .repeat()
        .slice(slice(start_example, None))
        .batch(batch_size, drop_remainder=True, batch_fn=np.asarray)  # else Grain rounds 2**63 - 1 up for a batch of 1
        .map_with_index(make_batch)
    )
    ahead = data.prefetch_batches
    batches = stream.to_iter_dataset(grain.ReadOptions(num_threads=min(ahead, 2), prefetch_buffer_size=ahead))
    if data.num_workers:
        if not flags.FLAGS.is_parsed():  # Grain asks absl for a flag, and only absl's own `app.run` parses them
            flags.FLAGS.mark_as_parsed()
        # Batches are small enough for a pipe. Shared memory is short in containers, and Grain frees it in a thread that
        # may be cut off at exit, for which Python then prints a traceback.
        in_a_pipe = grain.experimental.DatasetOptions(min_shm_size=2**62)
        batches = grain.experimental.WithOptionsIterDataset(batches, in_a_pipe).mp_prefetch(
            grain.MultiprocessingOptions(num_workers=data.num_workers, per_worker_buffer_size=ahead)
        )
    generator = _own_batches(batches)
    atexit.register(_close_if_alive, weakref.ref(generator))
    return generator


def eval_batches(
    tokens: np.ndarray,
    objective: SpanCorruption,
    *,
    batch_size: int,
    num_batches: int,
    rows: slice = slice(None),
) -> Generator[Batch, None, None]:
    """The held-out chunks in order, each once, with the same spans every time.

    Args:
      tokens: a stream of ids, cut into consecutive chunks.
      objective: how a chunk becomes an example; its seed is not used.
      batch_size: rows of the global batch, over all hosts.
      num_batches: batches at most.
      rows: the part of each global batch that this host makes.

    Returns:
      A generator of batches as `train_batches` has them, all of one shape: the last one is filled up with rows of
      zeros, whose padded targets weigh nothing.

    Raises:
      ValueError: if there are too few tokens for one chunk.
    """
    make_batch = _MakeBatch(tokens, dataclasses.replace(objective, seed=EVAL_SEED), rows)
    return _eval_batches(make_batch, batch_size, num_batches)


def unigram_entropy(targets: Iterable[np.ndarray], tokenizer: Tokenizer) -> float:
    """Nats a token that a model predicting these targets' own token frequencies would reach.

    Args:
      targets: arrays of target ids of any shape; padding, EOS and sentinels are left out.
      tokenizer: says which ids those are.
    """
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for ids in targets:
        counts += np.bincount(np.ravel(ids), minlength=tokenizer.vocab_size)
    counts[[tokenizer.pad_id, tokenizer.eos_id]] = 0
    counts[tokenizer.vocab_size - tokenizer.num_sentinels :] = 0
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


class _MakeBatch:
    """Turns the chunk numbers of a global batch into this host's rows of it."""

    def __init__(self, tokens: np.ndarray, objective: SpanCorruption, rows: slice, start_example: int = 0):
        self.num_chunks = len(tokens) // objective.chunk_length
        if not self.num_chunks:
            raise ValueError(
                f"there are {len(tokens)} tokens, and train.inputs_length {objective.inputs_length} needs "
                f"{objective.chunk_length} for one example: use a shorter one or more text (task.source, "
                "task.min_characters, and task.eval_percent if it is the held-out text)"
            )
        self.tokens, self.objective, self.rows, self.start_example = tokens, objective, rows, start_example

    def __call__(self, batch_index: int, chunk_B: np.ndarray) -> Batch:
        index_B = self.start_example + batch_index * len(chunk_B) + np.arange(len(chunk_B))
        length = self.objective.chunk_length
        chunks = self.tokens[: self.num_chunks * length].reshape(self.num_chunks, length)
        return self.objective(chunks[chunk_B[self.rows]], index_B[self.rows])

    def __reduce__(self):
        """Sends a worker the name of a mapped file, not its contents; a part of a map is sent whole."""
        tokens, others = self.tokens, (self.objective, self.rows, self.start_example)
        if isinstance(tokens, np.memmap) and isinstance(tokens.base, mmap.mmap):
            where = (tokens.filename, tokens.dtype, "r", tokens.offset, tokens.shape)
            return _make_batch_from_file, (where, *others)
        return type(self), (np.asarray(tokens), *others)


def _make_batch_from_file(where: tuple, *others) -> _MakeBatch:
    return _MakeBatch(np.memmap(*where), *others)


def _own_batches(batches: grain.IterDataset) -> Generator[Batch, None, None]:
    """Iterates, and gives up the worker processes when it is closed or dropped."""
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


def _close_if_alive(reference: weakref.ref) -> None:
    """Closes at exit, while Python is still whole: what Grain does later finds its modules gone, and says so."""
    generator = reference()
    if generator is not None:
        generator.close()


def _eval_batches(make_batch: _MakeBatch, batch_size: int, num_batches: int) -> Generator[Batch, None, None]:
    num_chunks = min(make_batch.num_chunks, batch_size * num_batches)
    for i in range(-(-num_chunks // batch_size)):
        chunk_B = i * batch_size + np.arange(batch_size)
        batch = make_batch(i, chunk_B % num_chunks)
        for ids in batch.values():
            ids[chunk_B[make_batch.rows] >= num_chunks] = 0
        yield batch
