# SPDX-License-Identifier: Apache-2.0
"""Some batches of a run's examples: how much of them is padding, and how quickly they are made.

Shape letters: B rows of a batch, S input tokens, T target tokens.
"""

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from t5x_lite.commands.data_stats.findings import Batches
from t5x_lite.commands.data_stats.lengths import Padding
from t5x_lite.config import RunConfig
from t5x_lite.data.converters import Batch
from t5x_lite.data.examples import Examples
from t5x_lite.data.pipeline import eval_batches, train_batches
from t5x_lite.training.logging import Stopwatch

MEASURED_ROWS = 1_024  # are made into batches, of fewer examples as many as there are
FEATURES = ("encoder_input_tokens", "decoder_target_tokens")


def measure_batches(examples: Examples, cfg: RunConfig) -> Batches:
    """Makes some batches as training does, in this process."""
    num_batches = -(-min(MEASURED_ROWS, len(examples)) // cfg.train.batch_size)
    data = dataclasses.replace(cfg.data, num_workers=0)
    watch = Stopwatch()
    stream = train_batches(examples, batch_size=cfg.train.batch_size, data=data)
    made = list(itertools.islice(stream, num_batches))
    seconds = watch.lap()
    stream.close()
    return Batches(
        num_batches=num_batches,
        padding=padding_of(made),
        seconds=seconds,
        examples_per_second=sum(map(num_examples_of, made)) / seconds,
        tokens_per_second=sum(np.count_nonzero(batch[name]) for batch in made for name in FEATURES) / seconds,
    )


def held_out_padding(examples: Examples, batch_size: int) -> Padding:
    """Returns the padding of some held-out rows, taken at even distances."""
    size = min(batch_size, len(examples))  # no batch is filled up with rows of zeros
    num_batches = max(min(MEASURED_ROWS, len(examples)) // size, 1)
    return padding_of(eval_batches(examples, batch_size=size, num_batches=num_batches))


def padding_of(batches: Iterable[Batch]) -> Padding:
    """Returns the padding of batches.

    Args:
      batches: `encoder_input_tokens` [B, S] and `decoder_target_tokens` [B, T], 0 where there is no token.
    """
    filled, places, num_rows = np.zeros(2), np.zeros(2), 0
    for batch in batches:
        filled += [np.count_nonzero(batch[name]) for name in FEATURES]
        places += [batch[name].size for name in FEATURES]
        num_rows += len(batch[FEATURES[0]])
    inputs, targets = 1 - filled / places
    return Padding(num_rows, float(inputs), float(targets), float(1 - filled.sum() / places.sum()))


def num_examples_of(batch: Batch) -> int:
    """Returns how many examples a batch has, packed or not."""
    if "encoder_segment_ids" in batch:
        return int(batch["encoder_segment_ids"].max(axis=1).sum())
    return len(batch[FEATURES[0]])
