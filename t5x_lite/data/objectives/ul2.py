# SPDX-License-Identifier: Apache-2.0
"""UL2's mixture of denoisers: span corruption of six kinds and a prefix LM, each announced by a mode token.

    mode   denoisers                        span length, noise density              rate
    [NLU]  R, regular                       (3, 0.15) (8, 0.15)                     0.2 each
    [S2S]  S, sequential: a prefix LM       one span at the end, L / 4 on average   0.2
    [NLG]  X, extreme: long spans or many   (3, 0.5) (8, 0.5) (64, 0.15) (64, 0.5)  0.1 each

The S-denoiser's span has any length from 1 to L / 2 - 1, all equally likely, and no sentinel. Public reproductions take
a fifth of S-denoisers, citing the paper's section 4.5, and share the rest evenly between R and X, as here.

Chunks for 512 inputs or fewer lose 15% in a single span where spans have 64 tokens, and T5's masks place a single span
at the end of a chunk.

Source: Tay et al., "UL2: Unifying Language Learning Paradigms" (arXiv 2205.05131), table 1 and the appendix
(`ul2_objective`); `tasks.py` of Finnish-NLP/ul2-small-nl24-finnish for the mode tokens and the rates.
"""

from typing import NamedTuple

from t5x_lite.config import RunConfig
from t5x_lite.data.objectives.language_modeling import PrefixLM, max_targets
from t5x_lite.data.objectives.padding import fit_targets
from t5x_lite.data.objectives.span_corruption import SpanCorruption, noise_counts, span_corruption_lengths
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


def ul2_denoisers(cfg: RunConfig, tokenizer: Tokenizer) -> list[tuple[float, SpanCorruption | PrefixLM]]:
    """Returns the mixture as (rate, objective), rates adding up to 1.

    All give inputs and targets of the same lengths, the targets being as long as the longest need them. The mode token
    is a part of the inputs, and chunks are that much shorter.

    Raises:
      ValueError: if `train.inputs_length` or `train.targets_length` is too short, or the tokenizer has too few
        sentinels or cannot tell the mode tokens apart.
    """
    prefixes = _mode_prefixes(cfg, tokenizer)
    inputs_length = cfg.train.inputs_length
    sequential_length = inputs_length - len(prefixes[SEQUENTIAL_MODE]) - 1
    longest = max_targets(sequential_length, SEQUENTIAL_SHARE) + 1
    chunk_lengths = []
    for kind in SPAN_DENOISERS:
        room = inputs_length - len(prefixes[kind.mode])
        chunk_length, targets_length = span_corruption_lengths(room, kind.noise_density, kind.mean_span_length)
        _check_sentinels(cfg, tokenizer, kind, chunk_length)
        chunk_lengths.append(chunk_length)
        longest = max(longest, targets_length)

    common = {
        "inputs_length": inputs_length,
        "targets_length": fit_targets(cfg.train, longest),
        "eos_id": tokenizer.eos_id,
        "seed": cfg.seed,
    }
    mixture: list[tuple[float, SpanCorruption | PrefixLM]] = []
    for kind, chunk_length in zip(SPAN_DENOISERS, chunk_lengths, strict=True):
        denoiser = SpanCorruption(
            chunk_length=chunk_length,
            noise_density=kind.noise_density,
            mean_span_length=kind.mean_span_length,
            first_sentinel=tokenizer.sentinel_id(0),
            prefix_ids=prefixes[kind.mode],
            **common,
        )
        mixture.append((kind.rate, denoiser))
    sequential = PrefixLM(
        chunk_length=sequential_length,
        targets_share=SEQUENTIAL_SHARE,
        prefix_ids=prefixes[SEQUENTIAL_MODE],
        **common,
    )
    mixture.append((SEQUENTIAL_RATE, sequential))
    return mixture


def _mode_prefixes(cfg: RunConfig, tokenizer: Tokenizer) -> dict[str, tuple[int, ...]]:
    """The ids of each mode token, which leave room for three more: text, a sentinel and EOS."""
    modes = sorted({kind.mode for kind in SPAN_DENOISERS} | {SEQUENTIAL_MODE})
    prefixes = {mode: tuple(tokenizer.encode(mode)) for mode in modes}
    if len(set(prefixes.values())) < len(modes):
        raise ValueError(
            f"task.tokenizer gives the mode tokens {', '.join(modes)} of task.objective ul2 the same ids: use a "
            "vocabulary that has their letters"
        )
    longest = max(modes, key=lambda mode: len(prefixes[mode]))
    needed = len(prefixes[longest]) + 3
    if cfg.train.inputs_length < needed:
        raise ValueError(
            f"train.inputs_length is {cfg.train.inputs_length}: task.objective ul2 puts the {needed - 3} ids of "
            f"{longest} before the text, and needs {needed} or more"
        )
    return prefixes


def _check_sentinels(cfg: RunConfig, tokenizer: Tokenizer, kind: SpanDenoiser, chunk_length: int) -> None:
    _, num_spans = noise_counts(chunk_length, kind.noise_density, kind.mean_span_length)
    if num_spans > tokenizer.num_sentinels:
        raise ValueError(
            f"train.inputs_length {cfg.train.inputs_length} with task.objective ul2 removes {num_spans} spans of "
            f"{kind.mean_span_length:g} tokens, and task.tokenizer.num_sentinels is {tokenizer.num_sentinels}: use "
            f"{num_spans} sentinels or shorter inputs"
        )
