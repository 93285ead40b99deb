# SPDX-License-Identifier: Apache-2.0
"""Span corruption, T5's pretraining objective, for a whole batch at once.

Every row loses the same number of tokens in the same number of spans, so batches are rectangular and full, with no
padding.

Shape letters: B batch, L tokens of a chunk, S tokens the encoder reads, T tokens the decoder predicts, K spans of a
row, P random keys of a row.

Source: T5 `random_spans_noise_mask` and `noise_span_to_unique_sentinel` in `t5/data/preprocessors.py`.
"""

import dataclasses

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.objectives.padding import fit_targets, pad_rows
from t5x_lite.data.objectives.rng import draw_places, random_keys
from t5x_lite.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanCorruption:
    """All that turns a chunk of tokens into an example.

    Args:
      inputs_length: S, the prefix and EOS included.
      targets_length: T, EOS included, padded with zeros beyond what the objective yields.
      chunk_length: L, what yields exactly `inputs_length` after corruption.
      noise_density: share of the tokens that is removed.
      mean_span_length: average tokens a removed span.
      first_sentinel: id that marks the first span; those of the next ones descend from it.
      prefix_ids: put before the inputs, such as those of a mode token; the chunk is that much shorter.
      eos_id: ends inputs and targets.
      seed: of the order of the examples and of their corruption.
    """

    inputs_length: int
    targets_length: int
    chunk_length: int
    noise_density: float
    mean_span_length: float
    first_sentinel: int
    prefix_ids: tuple[int, ...] = ()
    eos_id: int = 1
    seed: int = 0

    @classmethod
    def from_config(cls, cfg: RunConfig, tokenizer: Tokenizer) -> "SpanCorruption":
        """The objective of a run.

        Raises:
          ValueError: if `train.targets_length` is too short, or the tokenizer has too few sentinels.
        """
        task, train = cfg.task, cfg.train
        chunk_length, targets_length = span_corruption_lengths(
            train.inputs_length, task.noise_density, task.mean_noise_span_length
        )
        _, num_spans = noise_counts(chunk_length, task.noise_density, task.mean_noise_span_length)
        if num_spans > tokenizer.num_sentinels:
            raise ValueError(
                f"train.inputs_length {train.inputs_length} with task.noise_density {task.noise_density} and "
                f"task.mean_noise_span_length {task.mean_noise_span_length} removes {num_spans} spans, and "
                f"task.tokenizer.num_sentinels is {tokenizer.num_sentinels}: use more sentinels, longer spans or less "
                "noise"
            )
        return cls(
            inputs_length=train.inputs_length,
            targets_length=fit_targets(train, targets_length),
            chunk_length=chunk_length,
            noise_density=task.noise_density,
            mean_span_length=task.mean_noise_span_length,
            first_sentinel=tokenizer.sentinel_id(0),
            eos_id=tokenizer.eos_id,
            seed=cfg.seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Corrupts one chunk a row; `index_B` are the examples' places in the stream."""
        num_noise, num_spans = noise_counts(self.chunk_length, self.noise_density, self.mean_span_length)
        mask_BL = random_spans_noise_mask(
            self.seed, index_B, length=self.chunk_length, num_noise=num_noise, num_spans=num_spans
        )
        inputs_BS, targets_BT = corrupt_spans(
            tokens_BL, mask_BL, first_sentinel=self.first_sentinel, eos_id=self.eos_id
        )
        return {
            "inputs": pad_rows(inputs_BS, self.inputs_length, self.prefix_ids),
            "targets": pad_rows(targets_BT, self.targets_length),
        }


def noise_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """How many tokens of a chunk are removed, and in how many spans.

    Raises:
      ValueError: if fewer tokens are kept than there are spans to separate.
    """
    # In float32 and rounded half to even, as T5 does; np.round is both.
    num_noise = int(np.round(np.float32(length) * np.float32(noise_density)))
    num_noise = min(max(num_noise, 1), length - 1)
    num_spans = max(1, int(np.round(np.float32(num_noise) / np.float32(mean_span_length))))
    if num_spans > length - num_noise:
        raise ValueError(
            f"task.noise_density {noise_density} keeps {length - num_noise} of {length} tokens, too few to separate "
            f"{num_spans} removed spans: lower it, or raise task.mean_noise_span_length {mean_span_length}"
        )
    return num_noise, num_spans


def span_corruption_lengths(inputs_length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """The chunk that fills `inputs_length` once it is corrupted, and the targets it yields.

    Returns:
      (chunk length, targets length), for T5's 512, 0.15 and 3: (568, 114).

    Raises:
      ValueError: if no chunk of two or more tokens fits.

    Source: T5 `random_spans_helper`.
    """
    chunk_length = max(2, inputs_length - 1)
    # T5 sizes chunks in float64 and draws masks in float32. The lengths returned are those of the masks.
    while _planned_lengths(chunk_length + 1, noise_density, mean_span_length)[0] <= inputs_length:
        chunk_length += 1
    planned_inputs, planned_targets = _planned_lengths(chunk_length, noise_density, mean_span_length)
    # T5 evens out the two sides where half of the tokens are noise and rounding gave the targets one more.
    if noise_density == 0.5 and planned_targets > planned_inputs:
        chunk_length -= 1
    while chunk_length >= 2:
        num_noise, num_spans = noise_counts(chunk_length, noise_density, mean_span_length)
        if chunk_length - num_noise + num_spans + 1 <= inputs_length:
            return chunk_length, num_noise + num_spans + 1
        chunk_length -= 1
    raise ValueError(f"train.inputs_length is {inputs_length}: span corruption needs 3 or more")


def _planned_lengths(chunk_length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    num_noise = round(chunk_length * noise_density)
    num_spans = round(num_noise / mean_span_length)
    return chunk_length - num_noise + num_spans + 1, num_noise + num_spans + 1  # 1: EOS


def random_spans_noise_mask(
    seed: int, index_B: np.ndarray, *, length: int, num_noise: int, num_spans: int
) -> np.ndarray:
    """Draws which tokens each row loses.

    Removed and kept tokens are each cut into `num_spans` non-empty segments, all ways to cut being equally likely, and
    the segments alternate, a kept one first.

    Returns:
      bool mask_BL, True where a token is removed; row b depends on `seed` and `index_B[b]` alone.
    """
    keys_BP = random_keys(seed, index_B, length - 2)
    noise_ends_BK = _random_segment_ends(keys_BP[:, : num_noise - 1], num_noise, num_spans)
    kept_ends_BK = _random_segment_ends(keys_BP[:, num_noise - 1 :], length - num_noise, num_spans)
    stops_BK = kept_ends_BK + noise_ends_BK
    starts_BK = stops_BK - np.diff(noise_ends_BK, axis=1, prepend=0)
    # +1 where a span starts and -1 where it has ended, summed up, is 1 inside of spans.
    steps_BL = np.zeros((len(index_B), length + 1), np.int8)
    np.put_along_axis(steps_BL, starts_BK, 1, axis=1)
    np.put_along_axis(steps_BL, stops_BK, -1, axis=1)
    return np.cumsum(steps_BL, axis=1, dtype=np.int8)[:, :length].astype(bool)


def corrupt_spans(
    tokens_BL: np.ndarray, mask_BL: np.ndarray, *, first_sentinel: int, eos_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits tokens into what the encoder reads and what the decoder predicts.

    Where kept tokens a, removed ones A and sentinels X, Y, ... descend from `first_sentinel`:
    a a A A a A -> inputs a a X a Y EOS, targets X A A Y A EOS.

    Args:
      tokens_BL: ids.
      mask_BL: True where a token is removed; as many of them and as many spans in every row.
      first_sentinel: id of the first span in a row.
      eos_id: appended to both.

    Returns:
      (inputs_BS, targets_BT), int32.
    """
    inputs_BS = spans_to_sentinels(tokens_BL, mask_BL, first_sentinel)
    targets_BT = spans_to_sentinels(tokens_BL, ~mask_BL, first_sentinel)
    eos_B1 = np.full((len(tokens_BL), 1), eos_id, np.int32)
    return np.concatenate([inputs_BS, eos_B1], axis=1), np.concatenate([targets_BT, eos_B1], axis=1)


def spans_to_sentinels(tokens_BL: np.ndarray, mask_BL: np.ndarray, first_sentinel: int) -> np.ndarray:
    """Replaces each masked span by one sentinel, their ids descending from `first_sentinel` along the row."""
    starts_BL = span_starts(mask_BL)
    marked_BL = mark_spans(tokens_BL, starts_BL, first_sentinel)
    return marked_BL[~mask_BL | starts_BL].reshape(len(tokens_BL), -1)


def span_starts(mask_BL: np.ndarray) -> np.ndarray:
    """Returns bool starts_BL, True at the first token of each masked span."""
    starts_BL = mask_BL.copy()
    starts_BL[:, 1:] &= ~mask_BL[:, :-1]
    return starts_BL


def mark_spans(tokens_BL: np.ndarray, starts_BL: np.ndarray, first_sentinel: int) -> np.ndarray:
    """Returns int32 marked_BL: the tokens, with a sentinel in place of each one that starts a span."""
    sentinels_BL = first_sentinel + 1 - np.cumsum(starts_BL, axis=1, dtype=np.int32)
    return np.where(starts_BL, sentinels_BL, tokens_BL).astype(np.int32)


def _random_segment_ends(keys_BP: np.ndarray, num_items: int, num_segments: int) -> np.ndarray:
    """Where each of `num_segments` non-empty segments of `num_items` ends, ends_BK.

    The inner ends are the places of the smallest of `num_items - 1` independent keys: every set of places is equally
    likely.
    """
    ends_BK = np.full((len(keys_BP), num_segments), num_items)
    if num_segments > 1:
        ends_BK[:, :-1] = draw_places(keys_BP, num_segments - 1) + 1
    return ends_BK
