# SPDX-License-Identifier: Apache-2.0
"""What a model reads for what is typed: template_task, and examples that can be drawn anew."""

import dataclasses
import json
import string
from typing import Any

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import InferConfig, TaskConfig
from t5x_lite.data.records.rows import input_maker
from t5x_lite.inference.few_shot import Pair, make_prompter, read_shots, template_task

WHERE = "the typed line (a JSON object gives fields)"  # as errors call it


class Prompts:
    """Makes inputs of lines and prompts of inputs.

    Args:
      options: the template, the examples and how they are laid out.
      shots: the examples that are drawn first.
      pretrained: what reads the prompts.
      seed: of what is drawn.
    """

    def __init__(self, options: InferConfig, shots: list[Pair], *, pretrained: Pretrained, seed: int):
        self.options, self.shots = options, shots
        self.examples = options.examples  # stays while no shots are drawn from it
        self._pretrained, self._seed, self._num_drawn = pretrained, seed, 0
        self._make = make_prompter(options, shots, pretrained)

    def inputs_of(self, line: str) -> list[str]:
        """Returns the inputs of a typed line: itself, or what a template or task makes of it.

        Raises:
          BadRecord: if it does not suit the template.
        """
        if self.options.template is None and self.options.task is None:
            return [line]
        task = template_task(self.options)
        return input_maker(task)(_record(line, task), WHERE)

    def prompt_of(self, inputs: str) -> str:
        """Returns what the model reads."""
        return self._make(inputs)

    def draw(self, num_shots: int) -> None:
        """Draws so many examples, others than before; none with 0.

        Raises:
          ValueError: if there are not as many, or there is no file to draw from.
        """
        if num_shots > 0 and self.examples is None:
            raise ValueError(f"shots is {num_shots}, and there is no file to draw from: name it with /examples FILE")
        self._adopt(self.examples, self._num_drawn + 1, shots=num_shots)

    def use_examples(self, examples: str) -> None:
        """Draws from another file, as many as before.

        Raises:
          ValueError: if it cannot be read, or has too few.
        """
        # Even if none are drawn yet, one is read, so that a mistake is told now.
        read_shots(dataclasses.replace(self.options, shots=self.options.shots or 1, examples=examples), seed=self._seed)
        self._adopt(examples, self._num_drawn)

    def use_template(self, text: str) -> None:
        """Makes inputs, those of the examples too, by another template.

        Raises:
          ValueError: if it is none, or the examples do not suit it.
        """
        input_maker(template_task(dataclasses.replace(self.options, template=text)))
        self._adopt(self.examples, self._num_drawn, template=text)

    def _adopt(self, examples: str | None, num_drawn: int, **fields: Any) -> None:
        """Takes other options over, once examples are drawn by them; else everything stays as it was."""
        num_shots = fields.pop("shots", self.options.shots)
        used = examples if num_shots > 0 else None
        options = dataclasses.replace(self.options, shots=num_shots, examples=used, **fields)
        shots = read_shots(options, seed=self._seed + num_drawn)
        self._make = make_prompter(options, shots, self._pretrained)
        self.options, self.shots, self.examples, self._num_drawn = options, shots, examples, num_drawn


def _record(line: str, task: TaskConfig) -> dict[str, Any]:
    """Returns the record that a line stands for: a JSON object, or the text of the template's only field."""
    if line.lstrip().startswith("{"):
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"the typed line begins as a JSON object and is none ({error.msg}): mend it") from error
        if isinstance(found, dict):
            return found
    fields = {field.rstrip("?") for _, field, _, _ in string.Formatter().parse(task.inputs or "") if field}
    only = fields.pop() if len(fields) == 1 and task.preprocess is None else "inputs"
    return {only: line}
