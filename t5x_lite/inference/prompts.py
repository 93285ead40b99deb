# SPDX-License-Identifier: Apache-2.0
"""What the prompts of a file are made of: templates, and examples with their answers."""

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Callable

from t5x_lite.checkpoints.load import Pretrained, trained_length
from t5x_lite.config import InferConfig, TaskConfig
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.sources import open_source
from t5x_lite.data.task_specs import resolved
from t5x_lite.inference.few_shot import Pair, PromptMaker, draw_shots


def templates(options: InferConfig) -> TaskConfig:
    """Returns a task whose inputs and targets are the templates of some options.

    Raises:
      ValueError: if the task that is named has none.
    """
    given = {"inputs": options.template, "targets": options.targets_template}
    given = {name: value for name, value in given.items() if value is not None}
    if options.task is None:
        filled = {"inputs": "{inputs}", "targets": "{targets}"} | given
        return TaskConfig(source=options.examples or options.input, inputs=filled["inputs"], targets=filled["targets"])
    task = resolved(TaskConfig(base=options.task))
    if task.mixture is not None or task.inputs is None:
        what = "is a mixture" if task.mixture is not None else "has no inputs"
        raise ValueError(f"task {options.task} {what}: name one of inputs and targets, or use template")
    return dataclasses.replace(task, **given)


def read_shots(options: InferConfig, *, seed: int) -> list[Pair]:
    """Returns the examples that come before each of the inputs.

    Raises:
      ValueError: if there are not enough, or one cannot be read.
    """
    if options.examples is None:
        return []
    task = dataclasses.replace(templates(options), source=options.examples)
    with tempfile.TemporaryDirectory() as cache:
        records = open_source(task, options.examples, pathlib.Path(cache), field="examples").records
        rows = read_rows(task, records, range(len(records)), LeftOut())
        pairs = [(row.texts[0], row.texts[1]) for row in rows]
    return draw_shots(pairs, options.shots, seed=seed, balanced=options.balanced)


def prompt_maker(options: InferConfig, shots: list[Pair], pretrained: Pretrained) -> Callable[[str], str]:
    """Returns what makes a prompt of inputs; it says once, on stderr, if one is longer than the model is used to."""
    length = options.inputs_length or trained_length(options.checkpoint)
    maker = PromptMaker(shots, pretrained.tokenizer, length, options.shot_template, options.shot_separator)
    told: set[str] = set()

    def tell(line: str, about: str) -> None:
        if about not in told:
            print(f"{line} (said once)", file=sys.stderr)
            told.add(about)

    def make(inputs: str) -> str:
        prompt = maker(inputs)
        if prompt.num_shots < len(shots):
            tell(
                f"{prompt.num_shots} of {len(shots)} examples fit into {length} tokens before {inputs[:40]!r}", "shots"
            )
        if length is not None and prompt.num_tokens > length:
            tell(f"{inputs[:40]!r} has {prompt.num_tokens} tokens, and the model is used to {length}", "length")
        return prompt.text

    return make
