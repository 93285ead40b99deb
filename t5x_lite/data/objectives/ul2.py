# SPDX-License-Identifier: Apache-2.0
"""UL2's mixture of denoisers: six kinds of span corruption and a prefix LM, each marked by a mode token.

    mode   denoisers                        span length, noise density              rate
    [NLU]  R, regular                       (3, 0.15) (8, 0.15)                     0.2 each
    [S2S]  S, sequential: a prefix LM       one span at the end, L / 4 on average   0.2
    [NLG]  X, extreme: long spans or many   (3, 0.5) (8, 0.5) (64, 0.15) (64, 0.5)  0.1 each

The S-denoiser's span has no sentinel; its length is uniform from 1 to L / 2 - 1. As in public reproductions, which cite
section 4.5 of the paper, 20% of the examples are for the S-denoiser, and the rest are divided evenly between R and X.

With 512 inputs or fewer, the denoiser (64, 0.15) drops a single span, which T5's masks place at the end of the chunk.

Source: Tay et al., "UL2: Unifying Language Learning Paradigms" (arXiv 2205.05131), table 1 and the appendix
(`ul2_objective`); `tasks.py` of Finnish-NLP/ul2-small-nl24-finnish for the mode tokens and the rates.
"""

import dataclasses
from typing import NamedTuple

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.base import Objective, fit_targets
from t5x_lite.data.objectives.language_modeling import PrefixLM, max_targets
from t5x_lite.data.objectives.span_corruption import SpanCorruption
from t5x_lite.data.tokenizers import Tokenizer


class SpanDenoiser(NamedTuple):
    """One kind of span corruption in the mixture."""

    mode: str
    rate: float
    mean_span_length: float
    noise_density: float


SPAN_DENOISERS = (
    SpanDenoiser("[NLU]", 0.2, 3.0, 0.15),
    SpanDenoiser("[NLU]", 0.2, 8.0, 0.15),
    SpanDenoiser("[NLG]", 0.1, 3.0, 0.5),
    SpanDenoiser("[NLG]", 0.1, 8.0, 0.5),
    SpanDenoiser("[NLG]", 0.1, 64.0, 0.15),
    SpanDenoiser("[NLG]", 0.1, 64.0, 0.5),
)
SEQUENTIAL_MODE, SEQUENTIAL_RATE, SEQUENTIAL_SHARE = "[S2S]", 0.2, 0.25


def ul2_denoisers(
    task: TaskConfig, tokenizer: Tokenizer, *, inputs_length: int, targets_length: int | None, seed: int
) -> list[tuple[float, Objective]]:
    """Returns the mixture as (rate, objective) pairs, whose rates add up to 1; takes the args of `Objective.from_task`.

    All denoisers share the inputs length, which includes the mode token, and the longest denoiser's targets length.

    Raises:
      ValueError: if the lengths are too short, or the tokenizer has too few sentinels or does not distinguish the mode
        tokens.
    """
    del task
    prefixes = _mode_prefixes(inputs_length, tokenizer)
    mixture: list[tuple[float, SpanCorruption | PrefixLM]] = []
    for kind in SPAN_DENOISERS:
        denoiser = SpanCorruption.filling(
            tokenizer,
            inputs_length=inputs_length,
            noise_density=kind.noise_density,
            mean_span_length=kind.mean_span_length,
            prefix_ids=prefixes[kind.mode],
            seed=seed,
        )
        mixture.append((kind.rate, denoiser))
    prefix_ids = prefixes[SEQUENTIAL_MODE]
    chunk_length = inputs_length - len(prefix_ids) - 1
    sequential = PrefixLM(
        inputs_length=inputs_length,
        targets_length=max_targets(chunk_length, SEQUENTIAL_SHARE) + 1,
        chunk_length=chunk_length,
        targets_share=SEQUENTIAL_SHARE,
        prefix_ids=prefix_ids,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        seed=seed,
    )
    mixture.append((SEQUENTIAL_RATE, sequential))
    longest = fit_targets(inputs_length, targets_length, max(denoiser.targets_length for _, denoiser in mixture))
    return [(rate, dataclasses.replace(denoiser, targets_length=longest)) for rate, denoiser in mixture]


def _mode_prefixes(inputs_length: int, tokenizer: Tokenizer) -> dict[str, tuple[int, ...]]:
    """Returns each mode token's ids; raises ValueError if they are not distinct or leave too little room."""
    modes = sorted({kind.mode for kind in SPAN_DENOISERS} | {SEQUENTIAL_MODE})
    prefixes = {mode: tuple(tokenizer.encode(mode)) for mode in modes}
    if len(set(prefixes.values())) < len(modes):
        raise ValueError(
            f"task.tokenizer gives the mode tokens {', '.join(modes)} of task.objective ul2 the same ids: use a "
            "vocabulary that covers their characters"
        )
    longest = max(modes, key=lambda mode: len(prefixes[mode]))
    needed = len(prefixes[longest]) + 3  # a token of text, a sentinel and EOS
    if inputs_length < needed:
        raise ValueError(
            f"train.inputs_length is {inputs_length}, but task.objective ul2 prepends the {needed - 3} ids of "
            f"{longest} to the text: use {needed} or more"
        )
    return prefixes
