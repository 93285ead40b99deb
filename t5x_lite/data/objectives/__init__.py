# SPDX-License-Identifier: Apache-2.0
"""Pretraining objectives, which turn chunks of text into inputs and targets.

To add one, subclass `Objective` in a new file here and register it in `OBJECTIVES` below and in
`config.task.READ_BY_OBJECTIVE`.
"""

import pkgutil

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective
from t5x_lite.data.tokenizers import Tokenizer

Weighted = list[tuple[float, Objective]]  # a mixture: (rate, objective); the rates add up to 1
# Functions with the signature of `Objective.from_task`, by `task.objective`. Only the chosen one's module is imported.
OBJECTIVES = {
    "span_corruption": "span_corruption:SpanCorruption.from_task",
    "iid_denoising": "iid_denoising:IidDenoising.from_task",
    "prefix_lm": "language_modeling:PrefixLM.from_task",
    "causal_lm": "language_modeling:CausalLM.from_task",
    "masked_lm": "masked_lm:MaskedLM.from_task",
    "ul2": "ul2:ul2_denoisers",
}


def make_objectives(
    task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
) -> Weighted:
    """Returns `task.objective` as a mixture of one or more objectives; takes the args of `Objective.from_task`."""
    make = pkgutil.resolve_name(f"{__name__}.{OBJECTIVES[task.objective]}")
    made = make(task, tokenizer, inputs_length=inputs_length, targets_length=targets_length, seed=seed)
    return made if isinstance(made, list) else [(1.0, made)]
