# SPDX-License-Identifier: Apache-2.0
"""I.i.d. denoising: drops each token independently with the same probability, vectorised over the batch.

Adjacent dropped tokens share a sentinel, and each span follows its own sentinel in the targets, as in span corruption.
(T5 emits a sentinel per run of kept tokens instead, so in rows that start with a dropped token, spans follow the
previous span's sentinel.) Rows differ in length and are padded.

No token is lost. Chunks have one token fewer than the inputs, as in T5, and sentinels cannot make them longer. Targets
have room for their mean number, with sentinels, plus three standard deviations; in the fewer than 0.2% of rows that
exceed it, the last dropped tokens are kept. Every row drops at least one token, so that there is something to predict.

Shape letters: B batch, L tokens per chunk, S encoder tokens, T decoder tokens.

Source: T5 `iid_denoising`, `iid_noise_mask` and `noise_span_to_unique_sentinel` in `t5/data/preprocessors.py`.
"""

import dataclasses
import math
from typing import Any, Self

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective, fit_targets
from t5x_lite.data.objectives.gathering import gather_rows
from t5x_lite.data.objectives.rng import random_keys
from t5x_lite.data.objectives.span_corruption import mark_spans, span_starts
from t5x_lite.data.tokenizers import Tokenizer

DEVIATIONS = 3.0  # room above the mean, in standard deviations


@dataclasses.dataclass(frozen=True, kw_only=True)
class IidDenoising(Objective):
    """Replaces random tokens with sentinels in the inputs and predicts the tokens."""

    noise_density: float  # probability that a token is dropped
    num_sentinels: int  # maximum number of spans per row
    first_sentinel: int  # id of the first sentinel; later ones descend from it

    @classmethod
    def from_task(
        cls, task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
    ) -> Self:
        chunk_length = inputs_length - 1
        if chunk_length < 2:
            raise ValueError(f"train.inputs_length is {inputs_length}: iid_denoising needs 3 or more")
        num_spans, num_targets = iid_room(chunk_length, task.noise_density)
        if num_spans > tokenizer.num_sentinels:
            raise ValueError(
                f"train.inputs_length {inputs_length} with task.noise_density {task.noise_density} needs {num_spans} "
                f"sentinels, but task.tokenizer.num_sentinels is {tokenizer.num_sentinels}: use more sentinels, "
                "shorter inputs or less noise"
            )
        return cls(
            inputs_length=inputs_length,
            targets_length=fit_targets(inputs_length, targets_length, num_targets),
            chunk_length=chunk_length,
            noise_density=task.noise_density,
            num_sentinels=tokenizer.num_sentinels,
            first_sentinel=tokenizer.sentinel_id(0),
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            seed=seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        mask_BL = iid_noise_mask(self.seed, index_B, length=self.chunk_length, noise_density=self.noise_density)
        mask_BL = limit_noise(mask_BL, max_spans=self.num_sentinels, max_targets=self.targets_length - 1)
        starts_BL = span_starts(mask_BL)
        marked_BL = mark_spans(tokens_BL, starts_BL, self.first_sentinel)
        ends: Any = {"eos_id": self.eos_id, "pad_id": self.pad_id}
        inputs_BS = gather_rows(marked_BL, ~mask_BL | starts_BL, length=self.inputs_length, **ends)
        # Each token is preceded by a slot for a sentinel, used if a span starts there.
        pairs_BL2 = np.stack([marked_BL, tokens_BL], axis=2)
        keep_BL2 = np.stack([starts_BL, mask_BL], axis=2)
        shape = (len(tokens_BL), 2 * self.chunk_length)
        targets_BT = gather_rows(pairs_BL2.reshape(shape), keep_BL2.reshape(shape), length=self.targets_length, **ends)
        return {"inputs": inputs_BS, "targets": targets_BT}


def iid_room(length: int, noise_density: float) -> tuple[int, int]:
    """Returns the numbers of spans and of targets, including sentinels and EOS, to make room for in a chunk.

    Both are the mean plus three standard deviations, capped at the maximum possible.
    """
    d, q = noise_density, 1 - noise_density
    spans = d * q * length + d * d
    # A span starts at a dropped token after a kept one, so two consecutive tokens cannot both be starts.
    spans_variance = d * q * (1 - 3 * d * q) * length
    # A dropped token adds two targets, itself and a sentinel, or one if the previous token is dropped too.
    targets = d * (1 + q) * length + d * d
    targets_variance = (d * (4 - 3 * d) - (d * (1 + q)) ** 2 - 2 * d * d * q * (1 + q)) * length
    return (
        min(math.ceil(spans + DEVIATIONS * math.sqrt(spans_variance)), (length + 1) // 2),
        min(math.ceil(targets + DEVIATIONS * math.sqrt(targets_variance)), length + 1) + 1,
    )


def iid_noise_mask(seed: int, index_B: np.ndarray, *, length: int, noise_density: float) -> np.ndarray:
    """Returns a random mask_BL, True for dropped tokens: each with probability `noise_density`, at least one per row.

    Row b depends on `seed` and `index_B[b]` only.
    """
    keys_BL = random_keys(seed, index_B, length)
    mask_BL = keys_BL < np.uint64(noise_density * 2.0**64)
    np.put_along_axis(mask_BL, keys_BL.argmin(axis=1)[:, None], True, axis=1)
    return mask_BL


def limit_noise(mask_BL: np.ndarray, *, max_spans: int, max_targets: int) -> np.ndarray:
    """Unmasks the last dropped tokens of rows with more spans, or more dropped tokens and sentinels, than allowed."""
    starts_BL = span_starts(mask_BL)
    num_spans_BL = np.cumsum(starts_BL, axis=1, dtype=np.int32)
    num_targets_BL = num_spans_BL + np.cumsum(mask_BL, axis=1, dtype=np.int32)
    return mask_BL & (num_spans_BL <= max_spans) & (num_targets_BL <= max_targets)
