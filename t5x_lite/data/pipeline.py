# SPDX-License-Identifier: Apache-2.0
"""Batches of examples, each a pure function of (seed, its index in the stream).

Nothing else decides what an example is, so the global batch is the same for any number of hosts and workers, and a run
resumes exactly by starting at another index.

Shape letters: B rows of a batch.
"""

import atexit
import weakref
from collections.abc import Generator, Iterable

import grain
import numpy as np
from absl import flags

from t5x_lite.config import DataConfig
from t5x_lite.data.converters import Batch, Converter, encoder_decoder, targets_of
from t5x_lite.data.examples import Examples, spread
from t5x_lite.data.tokenizers import Tokenizer


def train_batches(
    examples: Examples,
    *,
    batch_size: int,
    data: DataConfig,
    convert: Converter = encoder_decoder,
    start_example: int = 0,
    rows: slice = slice(None),
) -> Generator[Batch, None, None]:
    """Endless batches; every example once an epoch, in another order each time.

    Args:
      examples: those of an epoch.
      batch_size: rows of the global batch, over all hosts.
      data: workers and prefetching.
      convert: makes a model's features of a task's.
      start_example: examples to skip, those of the steps already made.
      rows: the part of each global batch that this host makes.

    Returns:
      A generator of what `convert` makes, of `rows` alone. Closing or dropping it ends the workers.
    """
    make_batch = _MakeBatch(examples, convert, rows, start_example)
    stream = (
        grain.MapDataset.range(len(examples))
        .seed(examples.seed)
        .shuffle()
        .repeat()
        .slice(slice(start_example, None))
        .batch(batch_size, drop_remainder=True, batch_fn=np.asarray)  # else Grain rounds 2**63 - 1 up for a batch of 1
        .map_with_index(make_batch)
    )
    ahead = data.prefetch_batches
    # Two threads wait for each other: the same wall time for a third more CPU time than one takes.
    batches = stream.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead))
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
    examples: Examples,
    *,
    batch_size: int,
    num_batches: int,
    convert: Converter = encoder_decoder,
    rows: slice = slice(None),
) -> Generator[Batch, None, None]:
    """Some of the examples, each once, the same whatever the seed.

    Args:
      examples: held-out ones.
      batch_size: rows of the global batch, over all hosts.
      num_batches: batches at most; if there are more examples, those taken are spread over all.
      convert: makes a model's features of a task's.
      rows: the part of each global batch that this host makes.

    Returns:
      A generator of batches as `train_batches` has them, all of one shape: the last one is filled up with rows of
      zeros, whose padded targets weigh nothing.
    """
    make_batch = _MakeBatch(examples, convert, rows)
    num_examples = min(len(examples), batch_size * num_batches)
    for i in range(-(-num_examples // batch_size)):
        index_B = i * batch_size + np.arange(batch_size)
        batch = make_batch(i, spread(index_B % num_examples, len(examples)))
        for ids in batch.values():
            ids[index_B[rows] >= num_examples] = 0
        yield batch


def unigram_entropy(batches: Iterable[Batch], tokenizer: Tokenizer | None = None) -> float:
    """Nats a target that a model predicting these targets' own frequencies would reach.

    Args:
      batches: whose targets are counted where they weigh something.
      tokenizer: of targets that are tokens, of which EOS and sentinels are left out; None of labels.
    """
    counts = np.zeros(0 if tokenizer is None else tokenizer.vocab_size, np.int64)
    for batch in batches:
        ids, weights = targets_of(batch)
        found = np.bincount(ids[weights > 0], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    if tokenizer is not None:
        counts[[tokenizer.pad_id, tokenizer.eos_id]] = 0
        counts[tokenizer.vocab_size - tokenizer.num_sentinels :] = 0
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


class _MakeBatch:
    """Turns the numbers of a global batch's examples into this host's rows of it."""

    def __init__(self, examples: Examples, convert: Converter, rows: slice, start_example: int = 0):
        self.examples, self.convert, self.rows, self.start_example = examples, convert, rows, start_example

    def __call__(self, batch_index: int, number_B: np.ndarray) -> Batch:
        index_B = self.start_example + batch_index * len(number_B) + np.arange(len(number_B))
        return self.convert(self.examples(number_B[self.rows], index_B[self.rows]))


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
