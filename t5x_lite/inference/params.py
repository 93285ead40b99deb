# SPDX-License-Identifier: Apache-2.0
"""Decoding settings, split into traced per-example arrays (`SamplingParams`) and a static spec (`DecodeSpec`).

A batch may mix settings, and changing a value such as the temperature recompiles nothing; each spec is compiled once.

Shape letters: B batch, W ids in a list, F tokens of a forced prefix.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.config import ModelConfig
from t5x_lite.config.generation import GenerationConfig

NO_ID = -1


class SamplingParams(NamedTuple):
    """Per-example values of `GenerationConfig` for a batch: NumPy arrays, traced under jit."""

    max_new_B: Any
    min_new_B: Any
    temperature_B: Any
    top_k_B: Any
    top_p_B: Any
    min_p_B: Any
    seed_B: Any  # uint32
    length_penalty_B: Any
    repetition_penalty_B: Any
    banned_BW: Any  # rows are padded with NO_ID
    stop_BW: Any  # EOS first; rows are padded with NO_ID
    forced_BF: Any  # rows are padded with NO_ID
    # Instead of the spec's value, which is then an upper bound, so that one program serves all values up to it.
    num_beams_B: Any = None
    no_repeat_ngram_size_B: Any = None


class DecodeSpec(NamedTuple):
    """Static, hashable description of a decoding program, which includes a feature only if some example uses it."""

    vocab_size: int | None  # number of tokenizer ids, to mask the padding rows of the embedding; None masks nothing
    num_steps: int  # maximum number of new tokens
    num_sequences: int = 1  # beams or samples per example
    samples: bool = False  # whether any temperature is above 0
    has_top_k: bool = False
    has_top_p: bool = False
    has_min_p: bool = False
    has_min_new: bool = False
    has_repetition_penalty: bool = False
    no_repeat_ngram_size: int = 0  # the same for all examples; 0 if unused
    scores: bool = False  # whether to return log-probabilities per token
    beam_variant: str = ""  # t5x or hf for beam search; empty for greedy decoding and sampling
    num_top: int = 0  # most probable tokens to return per token, with their log-probabilities
    scores_as_sampled: bool = False  # whether log-probabilities are those of the distribution drawn from
    pad_id: int = 0  # follows a finished sequence
    start_id: int = 0  # the decoder's first input


def make_sampling_params(
    configs: Sequence[GenerationConfig],
    streams: Sequence[int],
    *,
    eos_id: int,
    forced: Sequence[Sequence[int]] | None = None,
) -> SamplingParams:
    """Collects the per-example values of a batch; `forced` holds the ids of each example's forced prefix.

    The same seed and stream give the same samples.
    """

    def values(field: str, dtype: type) -> np.ndarray:
        return np.asarray([getattr(config, field) for config in configs], dtype)

    seeds = [np.random.SeedSequence([config.seed, stream]) for config, stream in zip(configs, streams, strict=True)]
    return SamplingParams(
        max_new_B=values("max_new_tokens", np.int32),
        min_new_B=values("min_new_tokens", np.int32),
        temperature_B=values("temperature", np.float32),
        top_k_B=values("top_k", np.int32),
        top_p_B=values("top_p", np.float32),
        min_p_B=values("min_p", np.float32),
        seed_B=np.asarray([seed.generate_state(1)[0] for seed in seeds], np.uint32),
        length_penalty_B=values("length_penalty", np.float32),
        repetition_penalty_B=values("repetition_penalty", np.float32),
        banned_BW=_pad_rows([config.banned_tokens for config in configs], NO_ID),
        stop_BW=_pad_rows([(eos_id, *config.stop_tokens) for config in configs], NO_ID),
        forced_BF=_pad_rows(forced or [()] * len(configs), NO_ID),
    )


def make_decode_spec(
    configs: Sequence[GenerationConfig],
    *,
    vocab_size: int | None,
    num_steps: int,
    scores: bool = False,
    model: ModelConfig | None = None,
) -> DecodeSpec:
    """Returns the spec of a batch whose configs have the same `batch_key`; without `model`, the ids are T5's."""
    model = model or ModelConfig()
    assert len(set(map(batch_key, configs))) == 1, "these cannot be decoded in one batch"
    shared = configs[0]
    return DecodeSpec(
        vocab_size=vocab_size,
        num_steps=num_steps,
        num_sequences=max(shared.num_beams, shared.num_return_sequences),
        samples=any(config.temperature > 0 for config in configs),
        has_top_k=any(config.top_k > 0 for config in configs),
        has_top_p=any(config.top_p < 1 for config in configs),
        has_min_p=any(config.min_p > 0 for config in configs),
        has_min_new=any(config.min_new_tokens > 0 for config in configs),
        has_repetition_penalty=any(config.repetition_penalty != 1 for config in configs),
        no_repeat_ngram_size=shared.no_repeat_ngram_size,
        scores=scores,
        beam_variant=shared.beam_variant if shared.num_beams > 1 else "",
        scores_as_sampled=scores and shared.scores_as == "sampled",
        pad_id=model.pad_id,
        start_id=model.start_id,
    )


def batch_key(config: GenerationConfig) -> tuple:
    """Returns the settings that examples must share to be decoded in one batch."""
    variant = config.beam_variant if config.num_beams > 1 else ""
    return config.num_beams, config.num_return_sequences, config.no_repeat_ngram_size, variant, config.scores_as


def power_of_two(number: int) -> int:
    """Rounds a positive number up to a power of two."""
    return 1 << (number - 1).bit_length()


def _pad_rows(lists: Sequence[Sequence[int]], fill: int) -> np.ndarray:
    """Returns int32 rows padded to a power of two, to compile few widths."""
    longest = max(map(len, lists))
    rows = np.full((len(lists), power_of_two(longest) if longest else 0), fill, np.int32)
    for row, ids in zip(rows, lists, strict=True):
        row[: len(ids)] = ids
    return rows
