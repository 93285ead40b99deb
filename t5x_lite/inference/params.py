# SPDX-License-Identifier: Apache-2.0
"""What decoding is told: numbers of each example, and what of it a program is compiled for.

Examples of one batch may be decoded with different settings: the numbers are arrays, so that none of them compiles
anything anew.

Shape letters: B batch, W ids in a list, F tokens of a forced prefix.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.config import GenerationConfig

NO_ID = -1
SMALLEST_TOP_K = 64  # programs are compiled for powers of two from it on


class Controls(NamedTuple):
    """Of each example, fields of `GenerationConfig`: NumPy arrays, JAX ones within a program."""

    max_new_B: Any
    min_new_B: Any
    temperature_B: Any
    top_k_B: Any
    top_p_B: Any
    min_p_B: Any
    seed_B: Any  # uint32
    length_penalty_B: Any
    repetition_penalty_B: Any
    banned_BW: Any  # NO_ID fills a row up
    stop_BW: Any  # EOS among them
    forced_BF: Any  # 0 fills a row up


class Plan(NamedTuple):
    """What a program can do: what no example asks for is left out of it.

    Args:
      vocab_size: ids the tokenizer has; the rows that pad the embedding beyond it are never chosen. None is all.
      num_steps: most tokens of a sequence.
      num_sequences: decoded of each example: beams or samples.
      draws: whether any example has a temperature.
      most_top_k: 0 if none has top_k.
      has_top_p: whether any has top_p.
      has_min_p: whether any has min_p.
      has_min_new: whether any has min_new_tokens.
      repetition: whether any has a penalty.
      ngram: no_repeat_ngram_size of all.
      scores: whether each token's log-probability is wanted.
      beam_rules: of a beam search, t5x or hf; nothing where there is none.
    """

    vocab_size: int | None
    num_steps: int
    num_sequences: int = 1
    draws: bool = False
    most_top_k: int = 0
    has_top_p: bool = False
    has_min_p: bool = False
    has_min_new: bool = False
    repetition: bool = False
    ngram: int = 0
    scores: bool = False
    beam_rules: str = ""


def make_controls(
    configs: Sequence[GenerationConfig],
    streams: Sequence[int],
    *,
    eos_id: int,
    forced: Sequence[Sequence[int]] | None = None,
) -> Controls:
    """Returns the numbers of a batch.

    Args:
      configs: of each example.
      streams: a number of each example: those of the same seed and number draw the same.
      eos_id: ends a sequence, whatever the stop tokens are.
      forced: ids of each forced prefix; none if left out.
    """

    def numbers(field: str, dtype: type) -> np.ndarray:
        return np.asarray([getattr(config, field) for config in configs], dtype)

    seeds = [np.random.SeedSequence([config.seed, stream]) for config, stream in zip(configs, streams, strict=True)]
    return Controls(
        max_new_B=numbers("max_new_tokens", np.int32),
        min_new_B=numbers("min_new_tokens", np.int32),
        temperature_B=numbers("temperature", np.float32),
        top_k_B=numbers("top_k", np.int32),
        top_p_B=numbers("top_p", np.float32),
        min_p_B=numbers("min_p", np.float32),
        seed_B=np.asarray([seed.generate_state(1)[0] for seed in seeds], np.uint32),
        length_penalty_B=numbers("length_penalty", np.float32),
        repetition_penalty_B=numbers("repetition_penalty", np.float32),
        banned_BW=_rows([config.banned_tokens for config in configs], NO_ID),
        stop_BW=_rows([(eos_id, *config.stop_tokens) for config in configs], NO_ID),
        forced_BF=_rows(forced or [()] * len(configs), 0),
    )


def make_plan(
    configs: Sequence[GenerationConfig], *, vocab_size: int | None, num_steps: int, scores: bool = False
) -> Plan:
    """Returns what a program needs for a batch; num_beams, num_return_sequences and the n-gram size are of all."""
    one = configs[0]
    top_k = max(config.top_k for config in configs)
    return Plan(
        vocab_size=vocab_size,
        num_steps=num_steps,
        num_sequences=max(one.num_beams, one.num_return_sequences),
        draws=any(config.temperature > 0 for config in configs),
        most_top_k=0 if top_k == 0 else max(SMALLEST_TOP_K, 2 ** (top_k - 1).bit_length()),
        has_top_p=any(config.top_p < 1 for config in configs),
        has_min_p=any(config.min_p > 0 for config in configs),
        has_min_new=any(config.min_new_tokens > 0 for config in configs),
        repetition=any(config.repetition_penalty != 1 for config in configs),
        ngram=one.no_repeat_ngram_size,
        scores=scores,
        beam_rules=one.beam_rules if one.num_beams > 1 else "",
    )


def batches_with(config: GenerationConfig) -> tuple:
    """Returns what examples have to have in common to be decoded in one batch."""
    rules = config.beam_rules if config.num_beams > 1 else ""
    return config.num_beams, config.num_return_sequences, config.no_repeat_ngram_size, rules


def _rows(lists: Sequence[Sequence[int]], fill: int) -> np.ndarray:
    """Returns int32 rows, as long as a power of two, so that few lengths are compiled."""
    longest = max(map(len, lists))
    rows = np.full((len(lists), _rounded_up(longest)), fill, np.int32)
    for row, ids in zip(rows, lists, strict=True):
        row[: len(ids)] = ids
    return rows


@functools.cache
def _rounded_up(length: int) -> int:
    return 0 if length == 0 else 2 ** (length - 1).bit_length()
