# SPDX-License-Identifier: Apache-2.0
"""The interface of pretraining objectives.

Shape letters: B batch, L tokens per chunk, S encoder tokens, T decoder tokens.
"""

import abc
import dataclasses
from typing import Self

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective(abc.ABC):
    """Turns chunks of a token stream into inputs and targets.

    Subclasses are frozen dataclasses, so that they can be pickled to worker processes. All randomness is a pure
    function of the seed and the example's index: a row is the same in any batch, on any host.
    """

    inputs_length: int  # S, including EOS
    targets_length: int  # T, including EOS
    chunk_length: int  # L
    eos_id: int = 1  # appended to inputs and targets
    pad_id: int = 0
    seed: int = 0  # for the order of the examples and for all randomness in them

    @classmethod
    @abc.abstractmethod
    def from_task(
        cls, task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
    ) -> Self:
        """Returns the objective configured by a task.

        Args:
          task: the objective's parameters, such as `noise_density`.
          tokenizer: the tokenizer of the text, whose sentinels and EOS the objective inserts.
          inputs_length: S, from `train.inputs_length`.
          targets_length: T, from `train.targets_length`; None for the shortest length that truncates nothing.
          seed: the seed of the run.

        Raises:
          ValueError: if the lengths or the tokenizer do not suit the objective.
        """

    def for_leftover(self, length: int) -> Self:
        """Returns the objective for what is left of a text after its last whole chunk: 1 to L - 1 tokens."""
        return dataclasses.replace(self, chunk_length=length)

    @abc.abstractmethod
    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Makes one example from each chunk.

        Args:
          tokens_BL: ids of any integer type.
          index_B: index of each example in the stream; row b depends on `tokens_BL[b]`, `index_B[b]` and `seed` only.

        Returns:
          `inputs` [B, S] and `targets` [B, T], int32, ending in EOS and padded. Objectives that do not predict
          every target add `loss_weights` [B, T], int32, 1 where a target counts.
        """


def fit_targets(inputs_length: int, targets_length: int | None, num_targets: int) -> int:
    """Returns `targets_length`, or `num_targets` if it is None; raises ValueError if the targets do not fit."""
    if targets_length is not None and targets_length < num_targets:
        raise ValueError(
            f"train.targets_length is {targets_length}, but train.inputs_length {inputs_length} yields {num_targets} "
            f"targets: set it to {num_targets} or more, or leave it out"
        )
    return targets_length or num_targets
