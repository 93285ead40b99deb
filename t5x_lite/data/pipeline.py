# SPDX-License-Identifier: Apache-2.0
"""Batches of examples, each of which is a pure function of the seed and its index in the stream.

Global batches are therefore the same for any number of hosts and workers, and resumed runs continue exactly.

Shape letters: B rows per batch.
"""

import atexit
import functools
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
    """Returns an endless stream of batches, with every example once per epoch, reshuffled each time.

    Closing or dropping the generator stops the workers.

    Args:
      examples: the examples of an epoch.
      batch_size: global batch size, over all hosts.
      data: workers and prefetching.
      convert: converter from a task's features to the model's.
      start_example: number of examples to skip when resuming.
      rows: this host's rows of each global batch.
    """
    make_batch = functools.partial(
        _make_batch, examples=examples, convert=convert, rows=rows, start_example=start_example
    )
    stream = (
        grain.MapDataset.range(len(examples))
        .seed(examples.seed)
        .shuffle()
        .repeat()
        .slice(slice(start_example, None))
        .batch(batch_size, drop_remainder=True, batch_fn=np.asarray)  # keeping the remainder overflows for size 1
        .map_with_index(make_batch)
    )
    ahead = data.prefetch_batches
    # Two threads contend: they take as long as one and use a third more CPU time.
    batches = stream.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead))
    if data.num_workers:
        if not flags.FLAGS.is_parsed():  # Grain reads an absl flag, but only absl's `app.run` parses flags
            flags.FLAGS.mark_as_parsed()
        # Batches are small enough for a pipe. Shared memory is scarce in containers, and Grain frees it in a thread
        # that may be interrupted at exit, printing a traceback.
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
    """Yields batches of held-out examples, each at most once; the same for any seed.

    If not all examples fit into `num_batches`, the ones used are evenly spread. All batches have the same shape:
    the last one is padded with rows of zeros, whose weights are 0. See `train_batches` for the other args.
    """
    num_examples = min(len(examples), batch_size * num_batches)
    for i in range(-(-num_examples // batch_size)):
        index_B = i * batch_size + np.arange(batch_size)
        number_B = spread(index_B % num_examples, len(examples))
        batch = _make_batch(i, number_B, examples=examples, convert=convert, rows=rows)
        for ids in batch.values():
            ids[index_B[rows] >= num_examples] = 0
        yield batch


def unigram_entropy(batches: Iterable[Batch], tokenizer: Tokenizer | None = None) -> float:
    """Returns the unigram entropy of the targets with non-zero weight, in nats per target.

    Does not count EOS and sentinels; `tokenizer` is None for class labels.
    """
    counts = np.zeros(0 if tokenizer is None else tokenizer.vocab_size, np.int64)
    for batch in batches:
        ids, weights = targets_of(batch)
        more = np.bincount(ids[weights > 0], minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    if tokenizer is not None:
        counts[[tokenizer.pad_id, tokenizer.eos_id]] = 0
        counts[tokenizer.sentinel_ids.start : tokenizer.sentinel_ids.stop] = 0
    shares = counts[counts > 0] / counts.sum()
    return float(0.0 - np.sum(shares * np.log(shares)))  # not -0.0 for a single kind of target


def _make_batch(
    batch_index: int,
    number_B: np.ndarray,
    *,
    examples: Examples,
    convert: Converter,
    rows: slice,
    start_example: int = 0,
) -> Batch:
    """Returns this host's rows of a global batch with the given example numbers."""
    index_B = start_example + batch_index * len(number_B) + np.arange(len(number_B))
    return convert(examples(number_B[rows], index_B[rows]))


def _own_batches(batches: grain.IterDataset) -> Generator[Batch, None, None]:
    """Yields batches, and stops the worker processes when closed or dropped."""
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


def _close_if_alive(reference: weakref.ref) -> None:
    """Closes a generator at exit, before Python unloads modules that Grain needs for that."""
    generator = reference()
    if generator is not None:
        generator.close()
