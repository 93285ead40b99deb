# SPDX-License-Identifier: Apache-2.0
"""Language modelling for an encoder-decoder: the decoder goes on where the encoder's text ends.

Shape letters: B batch, L tokens of a chunk, S tokens the encoder reads, T tokens the decoder predicts.

Source: T5 `prefix_lm` and `random_prefix_noise_mask` in `t5/data/preprocessors.py`.
"""

import dataclasses

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.objectives.padding import gather_rows, pad_rows
from t5x_lite.data.objectives.rng import draw_below, random_keys
from t5x_lite.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixLM:
    """Splits a chunk in two, the first part for the encoder and the rest for the decoder; nothing is lost.

    The rest has any number of tokens from 1 to `max_targets(chunk_length, targets_share)`, all equally likely.

    Args:
      inputs_length: S, the prefix and EOS included.
      targets_length: T, EOS included.
      chunk_length: L, two or more.
      targets_share: the average share of a chunk that is the rest: T5's 0.5 splits anywhere between two tokens.
      prefix_ids: put before the inputs, such as those of a mode token.
      eos_id: ends inputs and targets.
      seed: of the order of the examples and of the splits.
    """

    inputs_length: int
    targets_length: int
    chunk_length: int
    targets_share: float = 0.5
    prefix_ids: tuple[int, ...] = ()
    eos_id: int = 1
    seed: int = 0

    @classmethod
    def from_config(cls, cfg: RunConfig, tokenizer: Tokenizer) -> "PrefixLM":
        """The objective of a run, splitting T5's chunks of `train.inputs_length` - 1 tokens, or less if T is less.

        Raises:
          ValueError: if `train.inputs_length` or `train.targets_length` leaves no two tokens to split.
        """
        train = cfg.train
        chunk_length = train.inputs_length - 1
        if train.targets_length is not None:
            chunk_length = min(chunk_length, train.targets_length)
        if chunk_length < 2:
            raise ValueError(
                f"train.inputs_length {train.inputs_length} and train.targets_length {train.targets_length} fit chunks "
                f"of {chunk_length} tokens, and prefix_lm splits one in two: use 3 and 2, or more"
            )
        return cls(
            inputs_length=train.inputs_length,
            targets_length=train.targets_length or chunk_length,
            chunk_length=chunk_length,
            eos_id=tokenizer.eos_id,
            seed=cfg.seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Splits one chunk a row; `index_B` are the examples' places in the stream."""
        most = max_targets(self.chunk_length, self.targets_share)
        keys_B1 = random_keys(self.seed, index_B, 1)
        num_inputs_B1 = self.chunk_length - 1 - draw_below(keys_B1, most)
        in_prefix_BL = np.arange(self.chunk_length)[None] < num_inputs_B1
        return {
            "inputs": gather_rows(
                tokens_BL, in_prefix_BL, length=self.inputs_length, eos_id=self.eos_id, prefix_ids=self.prefix_ids
            ),
            "targets": gather_rows(tokens_BL, ~in_prefix_BL, length=self.targets_length, eos_id=self.eos_id),
        }


def max_targets(chunk_length: int, targets_share: float) -> int:
    """Returns the most tokens that a prefix LM predicts, so that on average it predicts `targets_share` of a chunk."""
    return min(max(round(2 * targets_share * chunk_length) - 1, 1), chunk_length - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalLM:
    """Gives the whole chunk to the decoder, and to the encoder EOS alone.

    `train.inputs_length` 1 saves an encoder-decoder the padding; `train.targets_length` is then what has to be set.

    Args:
      inputs_length: S.
      targets_length: T, EOS included.
      chunk_length: L, T - 1.
      eos_id: ends inputs and targets.
      seed: of the order of the examples.
    """

    inputs_length: int
    targets_length: int
    chunk_length: int
    eos_id: int = 1
    seed: int = 0

    @classmethod
    def from_config(cls, cfg: RunConfig, tokenizer: Tokenizer) -> "CausalLM":
        """The objective of a run, T being `train.inputs_length` if `train.targets_length` is null.

        Raises:
          ValueError: if there is no place for a token and EOS.
        """
        train = cfg.train
        targets_length = train.targets_length or train.inputs_length
        if targets_length < 2:
            raise ValueError(
                f"train.targets_length is {train.targets_length} with train.inputs_length {train.inputs_length}, and "
                "causal_lm predicts a token and EOS at the least: set train.targets_length to 2 or more"
            )
        return cls(
            inputs_length=train.inputs_length,
            targets_length=targets_length,
            chunk_length=targets_length - 1,
            eos_id=tokenizer.eos_id,
            seed=cfg.seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Makes an example of one chunk a row; it is the same whatever `index_B`."""
        del index_B
        eos_B1 = np.full((len(tokens_BL), 1), self.eos_id, np.int32)
        return {
            "inputs": pad_rows(eos_B1, self.inputs_length),
            "targets": pad_rows(np.concatenate([tokens_BL, eos_B1], axis=1), self.targets_length),
        }
