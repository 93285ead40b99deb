# SPDX-License-Identifier: Apache-2.0
"""I.i.d. denoising: each token is removed or not without regard to its neighbours, for a whole batch at once.

Neighbours that are removed together share a sentinel, and each span follows its own sentinel in the targets, as in span
corruption. (T5 writes a sentinel for each run of kept tokens instead, so that in a row that begins with a removed token
a span follows the sentinel of the one before it.) Rows differ in length and are padded.

Nothing is ever lost. A chunk has one token fewer than the encoder has places, as in T5, and replacing spans by
sentinels cannot make it longer. The targets have places, and the tokenizer must have sentinels, for what a row removes
on average and three standard deviations more; where a row draws more than fits, its last ones stay where they are.
Fewer than one row in five hundred does. A row that draws none removes one token, so that there is something to predict.

Shape letters: B batch, L tokens of a chunk, S tokens the encoder reads, T tokens the decoder predicts.

Source: T5 `iid_denoising`, `iid_noise_mask` and `noise_span_to_unique_sentinel` in `t5/data/preprocessors.py`.
"""

import dataclasses
import math

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.objectives.padding import fit_targets, gather_rows
from t5x_lite.data.objectives.rng import random_keys
from t5x_lite.data.objectives.span_corruption import mark_spans, span_starts
from t5x_lite.data.tokenizers import Tokenizer

DEVIATIONS = 3.0  # standard deviations above the mean for which there is room


@dataclasses.dataclass(frozen=True, kw_only=True)
class IidDenoising:
    """All that turns a chunk of tokens into an example.

    Args:
      inputs_length: S, EOS included; at least `chunk_length` + 1.
      targets_length: T, EOS included.
      chunk_length: L.
      noise_density: probability that a token is removed.
      num_sentinels: spans that a row may have.
      first_sentinel: id that marks the first span; those of the next ones descend from it.
      eos_id: ends inputs and targets.
      seed: of the order of the examples and of their corruption.
    """

    inputs_length: int
    targets_length: int
    chunk_length: int
    noise_density: float
    num_sentinels: int
    first_sentinel: int
    eos_id: int = 1
    seed: int = 0

    @classmethod
    def from_config(cls, cfg: RunConfig, tokenizer: Tokenizer) -> "IidDenoising":
        """The objective of a run.

        Raises:
          ValueError: if `train.inputs_length` or `train.targets_length` is too short, or the tokenizer has too few
            sentinels.
        """
        train, density = cfg.train, cfg.task.noise_density
        chunk_length = train.inputs_length - 1
        if chunk_length < 2:
            raise ValueError(f"train.inputs_length is {train.inputs_length}: iid_denoising needs 3 or more")
        num_spans, targets_length = iid_room(chunk_length, density)
        if num_spans > tokenizer.num_sentinels:
            raise ValueError(
                f"train.inputs_length {train.inputs_length} with task.noise_density {density} removes up to "
                f"{num_spans} spans, and task.tokenizer.num_sentinels is {tokenizer.num_sentinels}: use more "
                "sentinels, shorter inputs or less noise"
            )
        return cls(
            inputs_length=train.inputs_length,
            targets_length=fit_targets(train, targets_length),
            chunk_length=chunk_length,
            noise_density=density,
            num_sentinels=tokenizer.num_sentinels,
            first_sentinel=tokenizer.sentinel_id(0),
            eos_id=tokenizer.eos_id,
            seed=cfg.seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Corrupts one chunk a row; `index_B` are the examples' places in the stream."""
        mask_BL = iid_noise_mask(self.seed, index_B, length=self.chunk_length, noise_density=self.noise_density)
        mask_BL = keep_what_does_not_fit(mask_BL, max_spans=self.num_sentinels, max_targets=self.targets_length - 1)
        starts_BL = span_starts(mask_BL)
        marked_BL = mark_spans(tokens_BL, starts_BL, self.first_sentinel)
        inputs_BS = gather_rows(marked_BL, ~mask_BL | starts_BL, length=self.inputs_length, eos_id=self.eos_id)
        # Before each token is a place for the sentinel of the span that may start there.
        pairs_BL2 = np.stack([marked_BL, tokens_BL], axis=2)
        keep_BL2 = np.stack([starts_BL, mask_BL], axis=2)
        shape = (len(tokens_BL), 2 * self.chunk_length)
        targets_BT = gather_rows(
            pairs_BL2.reshape(shape), keep_BL2.reshape(shape), length=self.targets_length, eos_id=self.eos_id
        )
        return {"inputs": inputs_BS, "targets": targets_BT}


def iid_room(length: int, noise_density: float) -> tuple[int, int]:
    """What a row of `length` tokens may need.

    Returns:
      (spans, targets with their sentinels and EOS): the mean and three standard deviations, or the most there can be if
      that is less.
    """
    d, q = noise_density, 1 - noise_density
    spans = d * q * length + d * d
    # A span starts where a token is removed and the one before it is not; two in a row cannot both be starts.
    spans_variance = d * q * (1 - 3 * d * q) * length
    # A removed token takes two places, with its sentinel, or one if the token before it is removed too.
    targets = d * (1 + q) * length + d * d
    targets_variance = (d * (4 - 3 * d) - (d * (1 + q)) ** 2 - 2 * d * d * q * (1 + q)) * length
    return (
        min(math.ceil(spans + DEVIATIONS * math.sqrt(spans_variance)), (length + 1) // 2),
        min(math.ceil(targets + DEVIATIONS * math.sqrt(targets_variance)), length + 1) + 1,
    )


def iid_noise_mask(seed: int, index_B: np.ndarray, *, length: int, noise_density: float) -> np.ndarray:
    """Draws which tokens each row loses: each with probability `noise_density`, and one if that is none.

    Returns:
      bool mask_BL, True where a token is removed; row b depends on `seed` and `index_B[b]` alone.
    """
    keys_BL = random_keys(seed, index_B, length)
    mask_BL = keys_BL < np.uint64(noise_density * 2.0**64)
    np.put_along_axis(mask_BL, keys_BL.argmin(axis=1)[:, None], True, axis=1)
    return mask_BL


def keep_what_does_not_fit(mask_BL: np.ndarray, *, max_spans: int, max_targets: int) -> np.ndarray:
    """Returns a mask without the last removed tokens of rows that remove too many.

    Args:
      mask_BL: True where a token is removed.
      max_spans: neighbours that are removed together count as one span.
      max_targets: removed tokens and their sentinels.
    """
    starts_BL = span_starts(mask_BL)
    num_spans_BL = np.cumsum(starts_BL, axis=1, dtype=np.int32)
    num_targets_BL = num_spans_BL + np.cumsum(mask_BL, axis=1, dtype=np.int32)
    return mask_BL & (num_spans_BL <= max_spans) & (num_targets_BL <= max_targets)
