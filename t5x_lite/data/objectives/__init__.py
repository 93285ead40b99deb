# SPDX-License-Identifier: Apache-2.0
"""Pretraining objectives: what the model is asked to predict of a text.

To add one, write a subclass of `Objective` in a new file here, and list it in `OBJECTIVES` below and in
`config.task.READ_BY_OBJECTIVE`.
"""

import pkgutil

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective
from t5x_lite.data.tokenizers import Tokenizer

Weighted = list[tuple[float, Objective]]  # a mixture: (rate, objective), with rates that add up to 1
# By value of `task.objective`, the module here and in it the function with the signature of `Objective.from_task`. Only
# the module of the chosen objective is imported.
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
    """Returns `task.objective` as a mixture: one objective of rate 1, or several.

    Args and Raises: as for `Objective.from_task`.
    """
    make = pkgutil.resolve_name(f"{__name__}.{OBJECTIVES[task.objective]}")
    made = make(task, tokenizer, inputs_length=inputs_length, targets_length=targets_length, seed=seed)
    return made if isinstance(made, list) else [(1.0, made)]
