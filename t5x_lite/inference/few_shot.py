# SPDX-License-Identifier: Apache-2.0
"""Few-shot prompts: examples with their answers before the inputs that are to be answered.

Source: the form is that of Brown et al., "Language Models are Few-Shot Learners" (2020), figure 2.1.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.data.records.templates import Template
from t5x_lite.data.tokenizers import Tokenizer

Pair = tuple[str, str]  # inputs and targets


class Prompt(NamedTuple):
    """What a model is to read."""

    text: str
    num_shots: int  # examples in it
    num_tokens: int  # EOS included


@dataclasses.dataclass(frozen=True)
class PromptMaker:
    """Puts examples before inputs.

    Args:
      shots: the examples, the first one first; none makes prompts of the inputs alone.
      tokenizer: of the model.
      most_tokens: that a prompt may have; examples are left out from the first on until it fits. None has no limit.
      layout: of an example, from its {inputs} and {targets}. What is to be answered gets it with empty targets, without
        the white space at its end.
      separator: between examples.
    """

    shots: Sequence[Pair]
    tokenizer: Tokenizer
    most_tokens: int | None = None
    layout: str = "{inputs}\n{targets}"
    separator: str = "\n\n"

    def __call__(self, inputs: str) -> Prompt:
        """Returns the prompt for some inputs, with as many whole examples as fit; the inputs are never cut."""
        asked = inputs if not self.shots else self._laid_out(inputs, "").rstrip()
        shown = [self._laid_out(*shot) for shot in self.shots]
        for first in range(len(shown) + 1):
            text = self.separator.join([*shown[first:], asked])
            num_tokens = len(self.tokenizer.encode(text)) + 1
            if self.most_tokens is None or num_tokens <= self.most_tokens or first == len(shown):
                return Prompt(text, len(shown) - first, num_tokens)
        raise AssertionError("the last round returns")

    def _laid_out(self, inputs: str, targets: str) -> str:
        return Template(self.layout, "shot_template")({"inputs": inputs, "targets": targets}, "an example")


def draw_shots(pairs: Sequence[Pair], num_shots: int, *, seed: int, balanced: bool = False) -> list[Pair]:
    """Returns some of the examples, in random order.

    Args:
      pairs: all of them.
      num_shots: how many.
      seed: the same one draws the same examples.
      balanced: whether each different targets comes as often as the others, or once more.

    Raises:
      ValueError: if there are not as many.
    """
    if num_shots > len(pairs):
        raise ValueError(f"shots is {num_shots}, and there are {len(pairs)} examples: use fewer, or give more")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs)).tolist()
    if not balanced:
        return [pairs[number] for number in order[:num_shots]]
    waiting: dict[str, list[int]] = {}
    for number in order:
        waiting.setdefault(pairs[number][1], []).append(number)
    chosen: list[int] = []
    while len(chosen) < num_shots:  # a round takes one of each that is left
        chosen += [numbers.pop() for numbers in waiting.values() if numbers]
    return [pairs[number] for number in rng.permutation(chosen[:num_shots]).tolist()]
