# SPDX-License-Identifier: Apache-2.0
"""Prompts of an interactive session, with templates and few-shot examples that can be changed."""

import dataclasses
from typing import Any

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.inputs import input_maker
from t5x_lite.data.sources.file_content import json_object
from t5x_lite.inference.few_shot import Pair, line_field, make_prompter, read_shots, template_task

WHERE = "the typed line (a JSON object sets fields)"  # its name in errors


class Prompts:
    """Turns typed lines into inputs, and inputs into prompts; `shots` are the initial examples."""

    def __init__(self, options: InferConfig, shots: list[Pair], *, pretrained: Pretrained, seed: int):
        self.options, self.shots = options, shots
        self.examples = options.examples  # kept even with 0 shots
        self._pretrained, self._seed, self._num_draws = pretrained, seed, 0
        self.prompt_of = make_prompter(options, shots, pretrained)

    def inputs_of(self, line: str) -> list[str]:
        """Returns the inputs for a typed line, using the template if there is one; raises BadRecord on a mismatch."""
        if not self.options.has_template:
            return [line]
        task = template_task(self.options)
        record = json_object(line, WHERE) if line.lstrip().startswith("{") else {line_field(task): line}
        return input_maker(task, "task.inputs" if self.options.template is None else "template")(record, WHERE)

    def draw(self, num_shots: int) -> None:
        """Draws new examples; raises ValueError if there are too few, or no source to draw from."""
        if num_shots > 0 and self.examples is None:
            raise ValueError(f"shots is {num_shots}, but there is no file to draw from: name it with /examples FILE")
        self._adopt(self.examples, self._num_draws + 1, shots=num_shots)

    def use_examples(self, examples: str) -> None:
        """Draws the same number of examples from another source; raises ValueError if that fails."""
        # Reads at least one example, so that errors surface now.
        read_shots(dataclasses.replace(self.options, shots=self.options.shots or 1, examples=examples), seed=self._seed)
        self._adopt(examples, self._num_draws)

    def use_template(self, text: str) -> None:
        """Changes the template of inputs and examples; raises ValueError if it is invalid or does not suit them."""
        input_maker(template_task(dataclasses.replace(self.options, template=text)))
        self._adopt(self.examples, self._num_draws, template=text)

    def _adopt(self, examples: str | None, num_draws: int, **fields: Any) -> None:
        """Adopts changed options if the examples can be drawn; otherwise changes nothing."""
        num_shots = fields.pop("shots", self.options.shots)
        used = examples if num_shots > 0 else None
        options = dataclasses.replace(self.options, shots=num_shots, examples=used, **fields)
        shots = read_shots(options, seed=self._seed + num_draws)
        self.prompt_of = make_prompter(options, shots, self._pretrained)
        self.options, self.shots, self.examples, self._num_draws = options, shots, examples, num_draws
