# SPDX-License-Identifier: Apache-2.0
"""The converter of a masked language model, an encoder that predicts the original of each input token.

Shape letters: B rows per batch, S input tokens.
"""

import functools
from collections.abc import Mapping

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.data.converters import Batch, Converter, mismatch, packing_of
from t5x_lite.data.tokenizers import Tokenizer


def encoder_only(rows: Mapping[str, np.ndarray], *, mask_id: int) -> Batch:
    """Returns the features of an encoder that predicts the original of each input token.

    Args:
      rows: `inputs` and `targets`, both [B, S]; optionally `loss_weights` [B, S], 1 where a prediction counts.
      mask_id: the mask token; without `loss_weights`, predictions count where it is the input.

    Returns:
      `encoder_input_tokens`, `encoder_target_tokens`, `encoder_loss_weights` [B, S]; for packed rows also
      `encoder_segment_ids` and `encoder_positions`.
    """
    weights_BS = rows.get("loss_weights", rows["inputs"] == mask_id).astype(np.int32)
    return {
        "encoder_input_tokens": rows["inputs"],
        "encoder_target_tokens": rows["targets"],
        "encoder_loss_weights": weights_BS,
    } | packing_of(rows, "inputs", "encoder")


def masked_lm_converter(architecture: Architecture, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer) -> Converter:
    """Returns `encoder_only` with the tokenizer's mask token."""
    for task in tasks.values():
        if task.inputs is not None:
            remedy = "leave it and task.targets out to train on plain text"
            raise mismatch(architecture, "task.inputs", task.inputs, remedy)
        if task.objective != "masked_lm":
            raise mismatch(architecture, "task.objective", task.objective, "use masked_lm")
    return functools.partial(encoder_only, mask_id=tokenizer.sentinel_id(0))
