# SPDX-License-Identifier: Apache-2.0
"""Random access to the examples of an epoch: chunks of text corrupted by an objective, or those of `pairs`.

Shape letters: B rows per batch, L tokens per chunk, S encoder tokens, T decoder tokens.
"""

from typing import Protocol

import numpy as np

from t5x_lite.data.converters import Batch
from t5x_lite.data.corpus.shards import Tokens
from t5x_lite.data.objectives import Objective


class Examples(Protocol):
    """Random access to the rows of an epoch; pickled to worker processes."""

    seed: int  # for the order of the examples
    inputs_length: int  # S
    targets_length: int  # T
    pad_id: int  # the id of padding

    def __len__(self) -> int: ...

    def __call__(self, number_B: np.ndarray, index_B: np.ndarray) -> Batch:
        """Returns rows of a task's features, for a converter.

        Args:
          number_B: example numbers, in [0, len).
          index_B: indices in the stream over all epochs, which seed the randomness.
        """
        ...


class Chunks:
    """Consecutive chunks of a token stream, corrupted anew in every epoch; raises ValueError if there are none.

    What is left after the last whole chunk makes a shorter one, as in T5's `split_tokens`.

    Args:
      keep_leftover: whether to make this shorter chunk; otherwise its tokens are never used.
    """

    def __init__(self, tokens: Tokens, objective: Objective, *, keep_leftover: bool = True):
        self.tokens, self.objective, self.seed = tokens, objective, objective.seed
        self.inputs_length, self.targets_length = objective.inputs_length, objective.targets_length
        self.pad_id = objective.pad_id
        self.num_whole, num_left = divmod(len(tokens), objective.chunk_length)
        self.leftover = objective.for_leftover(num_left) if keep_leftover and num_left else None
        if not len(self):
            raise ValueError(
                f"there are {len(tokens)} tokens, but an example with train.inputs_length {objective.inputs_length} "
                f"needs {objective.chunk_length}: lower train.inputs_length, or use more text (task.source, "
                "task.min_characters, and task.eval_percent if the text is held out)"
            )

    def __len__(self) -> int:
        return self.num_whole + (self.leftover is not None)

    def __call__(self, number_B: np.ndarray, index_B: np.ndarray) -> Batch:
        number_B, index_B = np.asarray(number_B), np.asarray(index_B)
        is_whole_B = number_B < self.num_whole
        if is_whole_B.all():
            return self._corrupted(self.objective, number_B, index_B)
        assert self.leftover is not None
        rows = self._corrupted(self.leftover, number_B[~is_whole_B], index_B[~is_whole_B])
        if not is_whole_B.any():
            return rows
        whole = self._corrupted(self.objective, number_B[is_whole_B], index_B[is_whole_B])
        place_B = np.argsort(np.argsort(is_whole_B, kind="stable"), kind="stable")  # leftovers first
        return {name: np.concatenate([rows[name], whole[name]])[place_B] for name in whole}

    def _corrupted(self, objective: Objective, number_B: np.ndarray, index_B: np.ndarray) -> Batch:
        begin_B = number_B * self.objective.chunk_length
        return objective(np.stack(self.tokens.read(begin_B, begin_B + objective.chunk_length)), index_B)


def unpacked(examples: Examples) -> Examples:
    """Returns the pairs of packed rows, or the examples themselves if they are not packed."""
    return getattr(examples, "pairs", examples)


def spread(index_B: np.ndarray, length: int) -> np.ndarray:
    """Permutes indices in [0, length) so that neighbours are mapped far apart."""
    step = next(step for step in range(max(1, int(length * 0.618)), length + 1) if np.gcd(step, length) == 1)
    return index_B * step % length
