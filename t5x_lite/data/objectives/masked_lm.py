# SPDX-License-Identifier: Apache-2.0
"""Masked language modelling as in BERT: masks or replaces some tokens, and computes the loss on those only.

Inputs and targets have the same length: target i is the original of input i.

Shape letters: B batch, L tokens per chunk, S inputs, T = S targets, K selected tokens per row, P random keys per row.

Source: Devlin et al., "BERT" (2019), 3.1, and `create_masked_lm_predictions` in its `create_pretraining_data.py`.
"""

import dataclasses
from typing import Self

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective
from t5x_lite.data.objectives.rng import draw_below, draw_places, draw_uniform, random_keys
from t5x_lite.data.tokenizers import Tokenizer

MASKED, REPLACED = 0.8, 0.1  # fractions of the selected tokens; the rest stay unchanged


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedLM(Objective):
    """Masks, replaces or keeps randomly selected tokens in the inputs; `loss_weights` are 1 at those."""

    noise_density: float  # fraction of the tokens that is selected
    mask_id: int  # id of the mask token
    first_random_id: int  # lowest id used as a random replacement
    num_random_ids: int  # number of consecutive ids used as random replacements

    @classmethod
    def from_task(
        cls, task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
    ) -> Self:
        """Returns the objective with <extra_id_0> as the mask token and ordinary tokens as replacements."""
        if inputs_length < 2:
            raise ValueError(f"train.inputs_length is {inputs_length}: masked_lm needs 2 or more")
        if targets_length not in (None, inputs_length):
            raise ValueError(
                f"train.targets_length is {targets_length} but train.inputs_length is {inputs_length}: masked_lm "
                "predicts as many tokens as it reads; leave train.targets_length out"
            )
        first = max(tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) + 1
        num_ids = tokenizer.sentinel_id(tokenizer.num_sentinels - 1) - first
        if num_ids < 1:
            raise ValueError(
                f"task.tokenizer.num_sentinels is {tokenizer.num_sentinels} of {tokenizer.vocab_size} ids, which "
                "leaves no ordinary token as a replacement: use fewer sentinels"
            )
        return cls(
            inputs_length=inputs_length,
            targets_length=inputs_length,
            chunk_length=inputs_length - 1,
            noise_density=task.noise_density,
            mask_id=tokenizer.sentinel_id(0),
            first_random_id=first,
            num_random_ids=num_ids,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            seed=seed,
        )

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        length, num_chosen = self.chunk_length, num_masked(self.chunk_length, self.noise_density)
        keys_BP = random_keys(self.seed, index_B, length + 2 * num_chosen)
        places_BK = draw_places(keys_BP[:, :length], num_chosen)
        fate_BK = draw_uniform(keys_BP[:, length : length + num_chosen])
        random_BK = self.first_random_id + draw_below(keys_BP[:, length + num_chosen :], self.num_random_ids)

        targets_BT = np.full((len(tokens_BL), self.targets_length), self.pad_id, np.int32)
        targets_BT[:, :length], targets_BT[:, length] = tokens_BL, self.eos_id
        inputs_BS = targets_BT.copy()
        kept_BK = np.take_along_axis(targets_BT, places_BK, axis=1)
        changed_BK = np.where(fate_BK < MASKED + REPLACED, random_BK, kept_BK)
        np.put_along_axis(inputs_BS, places_BK, np.where(fate_BK < MASKED, self.mask_id, changed_BK), axis=1)
        weights_BT = np.zeros_like(targets_BT)
        np.put_along_axis(weights_BT, places_BK, 1, axis=1)
        return {"inputs": inputs_BS, "targets": targets_BT, "loss_weights": weights_BT}


def num_masked(length: int, noise_density: float) -> int:
    """Returns the number of tokens to select out of `length`, at least one."""
    return max(1, round(length * noise_density))
