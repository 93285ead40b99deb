# SPDX-License-Identifier: Apache-2.0
"""How a model's probabilities become tokens."""

import dataclasses
from typing import Literal

from t5x_lite.config.checks import require

MOST_BEAMS = 64
MOST_NGRAM = 16
MOST = 2**31  # programs count with 32 bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """A way to decode: greedy unless a temperature or beams are given.

    Args:
      max_new_tokens: at most so many are decoded, EOS included.
      min_new_tokens: EOS and stop tokens are not chosen before so many others.
      temperature: 0 takes the most probable token; above 0, tokens are drawn, from logits divided by it.
      top_k: draw among the K most probable tokens, ties included; 0 draws among all.
      top_p: draw among the most probable tokens that have this share of the probability together; 1 is all.
      min_p: draw among tokens at least this share as probable as the most probable one; 0 is all.
      seed: of what is drawn; each example draws from a stream of its own.
      num_beams: sequences that a beam search follows; 1 is none.
      length_penalty: exponent by which a beam's score is divided: ((5 + tokens) / 6) ** it, as T5X has it.
      beam_rules: t5x, or hf for the results of transformers, whose scores are divided by tokens ** length_penalty.
      num_return_sequences: answers to each input, the best first; at most num_beams with beams.
      repetition_penalty: above 1, tokens that were decoded before become less probable; a factor on their logits.
      no_repeat_ngram_size: no N tokens in a row are decoded twice; 0 allows it.
      forced_prefix: text that every answer begins with.
      banned_tokens: ids that are never chosen.
      stop_tokens: ids that end an answer as EOS does.
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
    beam_rules: Literal["t5x", "hf"] = "t5x"
    num_return_sequences: int = 1
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    forced_prefix: str = ""
    banned_tokens: tuple[int, ...] = ()
    stop_tokens: tuple[int, ...] = ()

    def __post_init__(self):
        for field in ("max_new_tokens", "num_beams", "num_return_sequences"):
            require(getattr(self, field) > 0, f"{field} is {getattr(self, field)}: use a number above 0")
        for field in ("min_new_tokens", "top_k", "seed", "no_repeat_ngram_size"):
            require(getattr(self, field) >= 0, f"{field} is {getattr(self, field)}: use 0 or more")
        require(self.seed < 2**32, f"seed is {self.seed}: use a number below 2**32")
        for field in ("max_new_tokens", "top_k"):
            require(getattr(self, field) < MOST, f"{field} is {getattr(self, field)}: use a number below 2**31")
        require(
            self.min_new_tokens <= self.max_new_tokens,
            f"min_new_tokens is {self.min_new_tokens} and max_new_tokens {self.max_new_tokens}: use at most that many",
        )
        require(
            0 <= self.temperature < float("inf"), f"temperature is {self.temperature}: use 0 (greedy) or a number above"
        )
        require(0 < self.top_p <= 1, f"top_p is {self.top_p}: use a share above 0, at most 1")
        require(0 <= self.min_p < 1, f"min_p is {self.min_p}: use a share from 0, below 1")
        require(
            0 < self.repetition_penalty < float("inf"),
            f"repetition_penalty is {self.repetition_penalty}: use a factor above 0; 1 changes nothing",
        )
        require(
            abs(self.length_penalty) < float("inf"), f"length_penalty is {self.length_penalty}: use a finite number"
        )
        require(self.num_beams <= MOST_BEAMS, f"num_beams is {self.num_beams}: use at most {MOST_BEAMS}")
        require(
            self.no_repeat_ngram_size <= MOST_NGRAM,
            f"no_repeat_ngram_size is {self.no_repeat_ngram_size}: use at most {MOST_NGRAM}",
        )
        for field in ("banned_tokens", "stop_tokens"):
            wrong = [token for token in getattr(self, field) if not 0 <= token < MOST]
            require(not wrong, f"{field} has {wrong}: use ids from 0, below the model's vocab_size")
        require(self.beam_rules in ("t5x", "hf"), f"beam_rules is {self.beam_rules!r}: use t5x or hf")
        self._check_methods()

    def _check_methods(self):
        if self.num_beams > 1:
            require(
                self.temperature == 0,
                f"num_beams is {self.num_beams} and temperature {self.temperature}: a beam search draws nothing, "
                "leave one of them out",
            )
            require(
                self.num_return_sequences <= self.num_beams,
                f"num_return_sequences is {self.num_return_sequences} and num_beams {self.num_beams}: use at most "
                "that many",
            )
        elif self.temperature == 0:
            require(
                self.num_return_sequences == 1,
                f"num_return_sequences is {self.num_return_sequences}, and greedy choice has one answer: add "
                "temperature or num_beams",
            )
        if self.temperature == 0:
            filters = {"top_k": 0, "top_p": 1, "min_p": 0}
            given = [name for name, nothing in filters.items() if getattr(self, name) != nothing]
            values = ", ".join(f"{name} {getattr(self, name)}" for name in given)
            remedy = "use " if self.num_beams > 1 else "add temperature 1, or use "
            remedy += ", ".join(f"{name} {filters[name]}" for name in given)
            require(not given, f"{values} with temperature 0, which draws nothing: {remedy}")
