# SPDX-License-Identifier: Apache-2.0
"""Span corruption, T5's pretraining objective, vectorised over the batch.

Every chunk drops the same number of tokens in the same number of spans, so batches need no padding, except for what is
left over at the end of a text.

Shape letters: B batch, L tokens per chunk, S encoder tokens, T decoder tokens, K spans per row, P random keys per row.

Source: T5 `random_spans_noise_mask` and `noise_span_to_unique_sentinel` in `t5/data/preprocessors.py`.
"""

import dataclasses
from typing import Self

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective, fit_targets
from t5x_lite.data.objectives.padding import pad_rows
from t5x_lite.data.objectives.rng import draw_places, random_keys
from t5x_lite.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanCorruption(Objective):
    """Replaces random spans with sentinels in the inputs and predicts the spans."""

    noise_density: float  # fraction of the tokens that is dropped
    mean_span_length: float  # average number of tokens per dropped span
    first_sentinel: int  # id of the first sentinel; later ones descend from it
    prefix_ids: tuple[int, ...] = ()  # prepended to the inputs, such as a mode token

    @classmethod
    def from_task(
        cls, task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
    ) -> Self:
        made = cls.filling(
            tokenizer,
            inputs_length=inputs_length,
            noise_density=task.noise_density,
            mean_span_length=task.mean_noise_span_length,
            seed=seed,
        )
        return dataclasses.replace(made, targets_length=fit_targets(inputs_length, targets_length, made.targets_length))

    @classmethod
    def filling(
        cls,
        tokenizer: Tokenizer,
        *,
        inputs_length: int,
        noise_density: float,
        mean_span_length: float,
        prefix_ids: tuple[int, ...] = (),
        seed: int,
    ) -> Self:
        """Returns the objective whose chunks exactly fill `inputs_length`, including the prefix."""
        room = inputs_length - len(prefix_ids)
        chunk_length, targets_length = span_corruption_lengths(room, noise_density, mean_span_length)
        _, num_spans = noise_counts(chunk_length, noise_density, mean_span_length)
        if num_spans > tokenizer.num_sentinels:
            raise ValueError(
                f"train.inputs_length {inputs_length} with noise density {noise_density:g} and mean span length "
                f"{mean_span_length:g} needs {num_spans} sentinels, but task.tokenizer.num_sentinels is "
                f"{tokenizer.num_sentinels}: use more sentinels, shorter inputs, longer spans or less noise"
            )
        return cls(
            inputs_length=inputs_length,
            targets_length=targets_length,
            chunk_length=chunk_length,
            noise_density=noise_density,
            mean_span_length=mean_span_length,
            first_sentinel=tokenizer.sentinel_id(0),
            prefix_ids=prefix_ids,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            seed=seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        length = max(self.chunk_length, 2)  # as in T5, a single leftover token is not dropped
        num_noise, num_spans = _unchecked_counts(length, self.noise_density, self.mean_span_length)
        mask_BL = random_spans_noise_mask(
            self.seed, index_B, length=length, num_noise=num_noise, num_spans=min(num_spans, length - num_noise)
        )[:, : self.chunk_length]
        inputs_BS, targets_BT = corrupt_spans(
            tokens_BL, mask_BL, first_sentinel=self.first_sentinel, eos_id=self.eos_id
        )
        return {
            "inputs": pad_rows(inputs_BS, self.inputs_length, self.prefix_ids, pad_id=self.pad_id),
            "targets": pad_rows(targets_BT, self.targets_length, pad_id=self.pad_id),
        }


def noise_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """Returns the numbers of dropped tokens and spans; raises ValueError if too few tokens separate the spans."""
    num_noise, num_spans = _unchecked_counts(length, noise_density, mean_span_length)
    if num_spans > length - num_noise:
        raise ValueError(
            f"task.noise_density {noise_density} keeps {length - num_noise} of {length} tokens, too few to separate "
            f"{num_spans} dropped spans: lower it, or raise task.mean_noise_span_length {mean_span_length}"
        )
    return num_noise, num_spans


def _unchecked_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    # In float32 and rounded half to even, as in T5.
    num_noise = int(np.round(np.float32(length) * np.float32(noise_density)))
    num_noise = min(max(num_noise, 1), length - 1)
    return num_noise, max(1, int(np.round(np.float32(num_noise) / np.float32(mean_span_length))))


def span_corruption_lengths(inputs_length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """Returns the chunk length that fills `inputs_length` after corruption, and the resulting targets length.

    For T5's arguments of 512, 0.15 and 3, these are (568, 114). Raises ValueError if no chunk of two tokens fits.

    Source: T5 `random_spans_helper`.
    """
    chunk_length = max(2, inputs_length - 1)
    # T5 computes chunk lengths in float64 but masks in float32; the lengths returned match the masks.
    while _float64_lengths(chunk_length + 1, noise_density, mean_span_length)[0] <= inputs_length:
        chunk_length += 1
    inputs, targets = _float64_lengths(chunk_length, noise_density, mean_span_length)
    # T5 balances inputs and targets if half of the tokens are noise and rounding made the targets longer.
    if noise_density == 0.5 and targets > inputs:
        chunk_length -= 1
    while chunk_length >= 2:
        num_noise, num_spans = noise_counts(chunk_length, noise_density, mean_span_length)
        if chunk_length - num_noise + num_spans + 1 <= inputs_length:
            return chunk_length, num_noise + num_spans + 1
        chunk_length -= 1
    raise ValueError(f"train.inputs_length is {inputs_length}: span corruption needs 3 or more")


def _float64_lengths(chunk_length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    num_noise = round(chunk_length * noise_density)
    num_spans = round(num_noise / mean_span_length)
    return chunk_length - num_noise + num_spans + 1, num_noise + num_spans + 1  # 1 for EOS


def random_spans_noise_mask(
    seed: int, index_B: np.ndarray, *, length: int, num_noise: int, num_spans: int
) -> np.ndarray:
    """Returns a random bool mask_BL, True for dropped tokens; row b depends on `seed` and `index_B[b]` only.

    Dropped and kept tokens are each split into `num_spans` non-empty segments, with all splits equally likely; the
    segments then alternate, starting with a kept one.
    """
    keys_BP = random_keys(seed, index_B, length - 2)
    noise_ends_BK = _random_segment_ends(keys_BP[:, : num_noise - 1], num_noise, num_spans)
    kept_ends_BK = _random_segment_ends(keys_BP[:, num_noise - 1 :], length - num_noise, num_spans)
    stops_BK = kept_ends_BK + noise_ends_BK
    starts_BK = stops_BK - np.diff(noise_ends_BK, axis=1, prepend=0)
    # With +1 at each start and -1 at each stop, the cumulative sum is 1 inside spans.
    steps_BL = np.zeros((len(index_B), length + 1), np.int8)
    np.put_along_axis(steps_BL, starts_BK, 1, axis=1)
    np.put_along_axis(steps_BL, stops_BK, -1, axis=1)
    return np.cumsum(steps_BL, axis=1, dtype=np.int8)[:, :length].astype(bool)


def corrupt_spans(
    tokens_BL: np.ndarray, mask_BL: np.ndarray, *, first_sentinel: int, eos_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits tokens into encoder inputs and decoder targets.

    With kept tokens a, dropped tokens A, and sentinels X, Y, ... descending from `first_sentinel`:
    a a A A a A -> inputs a a X a Y EOS, targets X A A Y A EOS.

    Args:
      tokens_BL: ids.
      mask_BL: True for dropped tokens; every row has the same numbers of dropped tokens and spans.

    Returns:
      (inputs_BS, targets_BT), int32.
    """
    inputs_BS = spans_to_sentinels(tokens_BL, mask_BL, first_sentinel)
    targets_BT = spans_to_sentinels(tokens_BL, ~mask_BL, first_sentinel)
    eos_B1 = np.full((len(tokens_BL), 1), eos_id, np.int32)
    return np.concatenate([inputs_BS, eos_B1], axis=1), np.concatenate([targets_BT, eos_B1], axis=1)


def spans_to_sentinels(tokens_BL: np.ndarray, mask_BL: np.ndarray, first_sentinel: int) -> np.ndarray:
    """Replaces each masked span with one sentinel, descending from `first_sentinel` along the row."""
    starts_BL = span_starts(mask_BL)
    marked_BL = mark_spans(tokens_BL, starts_BL, first_sentinel)
    return marked_BL[~mask_BL | starts_BL].reshape(len(tokens_BL), -1)


def span_starts(mask_BL: np.ndarray) -> np.ndarray:
    """Returns bool starts_BL, True at the first token of each masked span."""
    starts_BL = mask_BL.copy()
    starts_BL[:, 1:] &= ~mask_BL[:, :-1]
    return starts_BL


def mark_spans(tokens_BL: np.ndarray, starts_BL: np.ndarray, first_sentinel: int) -> np.ndarray:
    """Returns the tokens, int32, with the first of each span replaced by a sentinel."""
    sentinels_BL = first_sentinel + 1 - np.cumsum(starts_BL, axis=1, dtype=np.int32)
    return np.where(starts_BL, sentinels_BL, tokens_BL).astype(np.int32)


def _random_segment_ends(keys_BP: np.ndarray, num_items: int, num_segments: int) -> np.ndarray:
    """Returns the ends [B, K] of `num_segments` random non-empty segments; all splits are equally likely."""
    ends_BK = np.full((len(keys_BP), num_segments), num_items)
    if num_segments > 1:
        ends_BK[:, :-1] = draw_places(keys_BP, num_segments - 1) + 1
    return ends_BK
