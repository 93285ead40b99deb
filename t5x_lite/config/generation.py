# SPDX-License-Identifier: Apache-2.0
"""Decoding settings."""

import dataclasses
import math
from typing import Literal

from t5x_lite.config.checks import NON_NEGATIVE, POSITIVE, Rule, check_fields, require

MOST_BEAMS = 64
MOST_NGRAM = 16
MOST_NEW_TOKENS = 2**16  # each takes memory in the cache of every layer
MOST_SEQUENCES = 1_024
RENAMED = {"beam_rules": "beam_variant"}  # old names, which stay valid as options and keywords
INT32_LIMIT = 2**31  # compiled programs use int32
RULES = {
    POSITIVE: "max_new_tokens num_beams num_return_sequences",
    NON_NEGATIVE: "min_new_tokens top_k seed no_repeat_ngram_size",
    Rule(lambda value: value < 2**32, "use a number below 2**32"): "seed",
    Rule(lambda value: value <= MOST_NEW_TOKENS, f"use at most {MOST_NEW_TOKENS:,}"): "max_new_tokens",
    Rule(lambda value: value <= MOST_SEQUENCES, f"use at most {MOST_SEQUENCES:,}"): "num_return_sequences",
    Rule(lambda value: value < INT32_LIMIT, "use a number below 2**31"): "top_k",
    Rule(lambda value: 0 <= value < math.inf, "use 0 (greedy) or a finite number above 0"): "temperature",
    Rule(lambda value: 0 < value <= 1, "use a probability above 0 and at most 1"): "top_p",
    Rule(lambda value: 0 <= value < 1, "use a probability from 0 up to, but not including, 1"): "min_p",
    Rule(lambda value: 0 < value < math.inf, "use a factor above 0; 1 has no effect"): "repetition_penalty",
    Rule(math.isfinite, "use a finite number"): "length_penalty",
    Rule(lambda value: value <= MOST_BEAMS, f"use at most {MOST_BEAMS}"): "num_beams",
    Rule(lambda value: value <= MOST_NGRAM, f"use at most {MOST_NGRAM}"): "no_repeat_ngram_size",
    Rule(lambda value: value in ("t5x", "hf"), "use t5x or hf"): "beam_variant",
    Rule(lambda value: value in ("model", "sampled"), "use model or sampled"): "scores_as",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Decoding: greedy by default, sampling with a temperature, beam search with several beams.

    Args:
      max_new_tokens: maximum number of tokens to generate, EOS included.
      min_new_tokens: number of tokens to generate before EOS or a stop token is allowed.
      temperature: divisor of the logits for sampling; 0 decodes greedily.
      top_k: sample from the k most probable tokens, ties included; 0 samples from all.
      top_p: sample from the smallest set of tokens with at least this total probability; 1 samples from all.
      min_p: sample from tokens with at least this fraction of the top token's probability; 0 samples from all.
      seed: random seed of sampling; each example has its own random stream.
      num_beams: beam width; 1 turns beam search off.
      length_penalty: exponent alpha of the beam score's divisor, ((5 + tokens) / 6) ** alpha as in T5X.
      beam_variant: t5x for the beam search of T5X, or hf, which reproduces transformers and divides scores by
        tokens ** length_penalty.
      num_return_sequences: number of outputs per input, best first; at most num_beams in a beam search. With equal
        scores, samples keep the order in which they were drawn, and beams that of the beams they extend, then that of
        their token ids; T5X may order them differently.
      scores_as: scores in greedy decoding and sampling: model, the model's own log-probabilities; or sampled, as in
        T5X, those of the distribution drawn from, after penalties, temperature and filters, so that greedy ones are 0.
      repetition_penalty: penalty on tokens that were generated before; above 1 makes them less probable.
      no_repeat_ngram_size: size of the n-grams that may be generated only once; 0 allows repetition.
      forced_prefix: text that every output starts with.
      banned_tokens: token ids that are never generated.
      stop_tokens: token ids that end an output, in addition to EOS.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    num_beams: int = 1
    length_penalty: float = 0.6
    beam_variant: Literal["t5x", "hf"] = "t5x"
    num_return_sequences: int = 1
    scores_as: Literal["model", "sampled"] = "model"
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    forced_prefix: str = ""
    banned_tokens: tuple[int, ...] = ()
    stop_tokens: tuple[int, ...] = ()

    def __post_init__(self):
        check_fields(self, "", RULES)
        require(
            self.min_new_tokens <= self.max_new_tokens,
            f"min_new_tokens is {self.min_new_tokens}: use at most max_new_tokens, {self.max_new_tokens}",
        )
        for field in ("banned_tokens", "stop_tokens"):
            wrong = [token for token in getattr(self, field) if not 0 <= token < INT32_LIMIT]
            require(not wrong, f"{field} has {wrong}: use ids from 0 up to the model's vocab_size")
        if self.num_beams > 1:
            require(
                self.temperature == 0,
                f"num_beams is {self.num_beams} and temperature is {self.temperature}: beam search does not sample, "
                "leave out one of them",
            )
            require(
                self.num_return_sequences <= self.num_beams,
                f"num_return_sequences is {self.num_return_sequences}: use at most num_beams, {self.num_beams}",
            )
            require(
                self.scores_as == "model",
                f"num_beams is {self.num_beams} and scores_as is {self.scores_as}: beam search does not sample, leave "
                "out one of them",
            )
        elif self.temperature == 0:
            require(
                self.num_return_sequences == 1,
                f"num_return_sequences is {self.num_return_sequences}, but greedy decoding has one output: add "
                "temperature or num_beams",
            )
        if self.temperature == 0:
            neutral = {"top_k": 0, "top_p": 1, "min_p": 0}
            given = [name for name, value in neutral.items() if getattr(self, name) != value]
            values = ", ".join(f"{name} {getattr(self, name)}" for name in given)
            remedy = "" if self.num_beams > 1 else "add temperature 1, or "
            remedy += "leave out " + ", ".join(given)
            require(not given, f"{values} given without sampling (temperature is 0): {remedy}")
