# SPDX-License-Identifier: Apache-2.0
"""Masked language modelling as BERT has it: some tokens are hidden or changed, and those are what counts.

Inputs and targets are equally long, and token i of the targets is what token i of the inputs was. `loss_weights` say
which of them count.

Shape letters: B batch, L tokens of a chunk, S tokens the encoder reads, T = S tokens to predict, K tokens chosen in a
row, P random keys of a row.

Source: Devlin et al., "BERT" (2019), 3.1, and `create_masked_lm_predictions` in its `create_pretraining_data.py`.
"""

import dataclasses

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.objectives.rng import draw_below, draw_places, draw_uniform, random_keys
from t5x_lite.data.tokenizers import Tokenizer

MASKED, REPLACED = 0.8, 0.1  # of the chosen tokens; the others stay as they are


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedLM:
    """All that turns a chunk of tokens into an example.

    Args:
      inputs_length: S, EOS included.
      targets_length: T, the same.
      chunk_length: L, S - 1.
      noise_density: share of the tokens that is chosen.
      mask_id: put in place of most chosen tokens.
      first_random_id: the lowest of the ids that are put in place of some.
      num_random_ids: how many there are, in a row.
      eos_id: ends inputs and targets; never chosen.
      seed: of the order of the examples and of their corruption.
    """

    inputs_length: int
    targets_length: int
    chunk_length: int
    noise_density: float
    mask_id: int
    first_random_id: int
    num_random_ids: int
    eos_id: int = 1
    seed: int = 0

    @classmethod
    def from_config(cls, cfg: RunConfig, tokenizer: Tokenizer) -> "MaskedLM":
        """The objective of a run: <extra_id_0> masks, and ids between the special ones and the sentinels replace.

        Raises:
          ValueError: if `train.targets_length` is another than `train.inputs_length`, if that is too short, or if the
            sentinels take up the vocabulary.
        """
        train = cfg.train
        if train.inputs_length < 2:
            raise ValueError(f"train.inputs_length is {train.inputs_length}: masked_lm needs 2 or more")
        if train.targets_length not in (None, train.inputs_length):
            raise ValueError(
                f"train.targets_length is {train.targets_length} and train.inputs_length {train.inputs_length}: "
                "masked_lm predicts as many tokens as it reads; leave train.targets_length out"
            )
        first = max(tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) + 1
        num_ids = tokenizer.sentinel_id(tokenizer.num_sentinels - 1) - first
        if num_ids < 1:
            raise ValueError(
                f"task.tokenizer.num_sentinels {tokenizer.num_sentinels} of {tokenizer.vocab_size} ids leaves none to "
                "put in place of a token: use fewer sentinels"
            )
        return cls(
            inputs_length=train.inputs_length,
            targets_length=train.inputs_length,
            chunk_length=train.inputs_length - 1,
            noise_density=cfg.task.noise_density,
            mask_id=tokenizer.sentinel_id(0),
            first_random_id=first,
            num_random_ids=num_ids,
            eos_id=tokenizer.eos_id,
            seed=cfg.seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Masks one chunk a row; `index_B` are the examples' places in the stream.

        Returns:
          `inputs`, `targets` and `loss_weights`, which are 1 where a token was chosen and 0 elsewhere.
        """
        length, num_chosen = self.chunk_length, num_masked(self.chunk_length, self.noise_density)
        keys_BP = random_keys(self.seed, index_B, length + 2 * num_chosen)
        places_BK = draw_places(keys_BP[:, :length], num_chosen)
        fate_BK = draw_uniform(keys_BP[:, length : length + num_chosen])
        random_BK = self.first_random_id + draw_below(keys_BP[:, length + num_chosen :], self.num_random_ids)

        targets_BT = np.full((len(tokens_BL), self.targets_length), self.eos_id, np.int32)
        targets_BT[:, :length] = tokens_BL
        inputs_BS = targets_BT.copy()
        kept_BK = np.take_along_axis(targets_BT, places_BK, axis=1)
        changed_BK = np.where(fate_BK < MASKED + REPLACED, random_BK, kept_BK)
        np.put_along_axis(inputs_BS, places_BK, np.where(fate_BK < MASKED, self.mask_id, changed_BK), axis=1)
        weights_BT = np.zeros_like(targets_BT)
        np.put_along_axis(weights_BT, places_BK, 1, axis=1)
        return {"inputs": inputs_BS, "targets": targets_BT, "loss_weights": weights_BT}


def num_masked(length: int, noise_density: float) -> int:
    """Returns how many of `length` tokens are chosen, at least one."""
    return max(1, round(length * noise_density))
