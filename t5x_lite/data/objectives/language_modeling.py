# SPDX-License-Identifier: Apache-2.0
"""Language modelling with an encoder-decoder: the decoder continues the encoder's text.

Shape letters: B batch, L tokens per chunk, S encoder tokens, T decoder tokens.

Source: T5 `prefix_lm` and `random_prefix_noise_mask` in `t5/data/preprocessors.py`.
"""

import dataclasses
from typing import Any, Self

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective
from t5x_lite.data.objectives.gathering import gather_rows
from t5x_lite.data.objectives.padding import pad_rows
from t5x_lite.data.objectives.rng import draw_below, random_keys
from t5x_lite.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixLM(Objective):
    """Splits a chunk at a random point: the first part is the inputs, the rest the targets.

    The number of targets is uniform from 1 to `max_targets(chunk_length, targets_share)`.
    """

    targets_share: float = 0.5  # average fraction that is predicted; T5's 0.5 splits anywhere between two tokens
    prefix_ids: tuple[int, ...] = ()  # prepended to the inputs, such as a mode token

    @classmethod
    def from_task(
        cls, task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
    ) -> Self:
        """Returns the objective with T5's chunks of S - 1 tokens, or T if fewer."""
        chunk_length = min(inputs_length - 1, targets_length or inputs_length)
        if chunk_length < 2:
            raise ValueError(
                f"train.inputs_length {inputs_length} and train.targets_length {targets_length} fit chunks of "
                f"{chunk_length} tokens, but prefix_lm splits a chunk in two: use 3 and 2, or more"
            )
        return cls(
            inputs_length=inputs_length,
            targets_length=targets_length or chunk_length,
            chunk_length=chunk_length,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            seed=seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        most = max_targets(self.chunk_length, self.targets_share)
        keys_B1 = random_keys(self.seed, index_B, 1)
        num_inputs_B1 = self.chunk_length - 1 - draw_below(keys_B1, max(most, 1))  # a single token is a target
        in_prefix_BL = np.arange(self.chunk_length)[None] < num_inputs_B1
        ends: Any = {"eos_id": self.eos_id, "pad_id": self.pad_id}
        return {
            "inputs": gather_rows(
                tokens_BL, in_prefix_BL, length=self.inputs_length, prefix_ids=self.prefix_ids, **ends
            ),
            "targets": gather_rows(tokens_BL, ~in_prefix_BL, length=self.targets_length, **ends),
        }


def max_targets(chunk_length: int, targets_share: float) -> int:
    """Returns the maximum number of targets for which their average is `targets_share` of a chunk."""
    return min(max(round(2 * targets_share * chunk_length) - 1, 1), chunk_length - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalLM(Objective):
    """Predicts the whole chunk; the inputs are just EOS.

    With an encoder-decoder, set `train.targets_length`, and `train.inputs_length` to 1, to avoid padding the inputs.
    """

    @classmethod
    def from_task(
        cls, task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
    ) -> Self:
        length = targets_length or inputs_length
        if length < 2:
            raise ValueError(
                f"train.targets_length is {targets_length} with train.inputs_length {inputs_length}, but causal_lm "
                "predicts at least a token and EOS: set train.targets_length to 2 or more"
            )
        return cls(
            inputs_length=inputs_length,
            targets_length=length,
            chunk_length=length - 1,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            seed=seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Makes one example from each chunk, without randomness."""
        del index_B
        eos_B1 = np.full((len(tokens_BL), 1), self.eos_id, np.int32)
        return {
            "inputs": pad_rows(eos_B1, self.inputs_length, pad_id=self.pad_id),
            "targets": pad_rows(np.concatenate([tokens_BL, eos_B1], axis=1), self.targets_length, pad_id=self.pad_id),
        }
