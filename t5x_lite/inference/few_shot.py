# SPDX-License-Identifier: Apache-2.0
"""Few-shot prompts: solved examples followed by the input to answer.

Source: the layout follows Brown et al., "Language Models are Few-Shot Learners" (2020), figure 2.1.
"""

import contextlib
import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.checkpoints.load import Pretrained, trained_length
from t5x_lite.config import TaskConfig
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources import OR_SKIP, open_source
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers import Tokenizer

INPUTS = "inputs"  # the field that is read without a template
Pair = tuple[str, str]  # inputs and targets


class Prompt(NamedTuple):
    """A prompt and its size."""

    text: str
    num_shots: int
    num_tokens: int  # including EOS


@dataclasses.dataclass(frozen=True)
class PromptMaker:
    """Prepends examples to inputs; without examples, a prompt is the input alone."""

    shots: Sequence[Pair]
    tokenizer: Tokenizer
    max_tokens: int | None = None  # the first examples are dropped to fit; None is unlimited
    # For the input to answer, targets are empty and trailing white space is stripped.
    layout: str = "{inputs}\n{targets}"
    separator: str = "\n\n"

    def __call__(self, inputs: str) -> Prompt:
        """Returns the prompt with as many whole examples as fit; the input is never truncated."""
        query = inputs if not self.shots else self._lay_out(inputs, "").rstrip()
        shots = [self._lay_out(*shot) for shot in self.shots]
        while True:
            text = self.separator.join([*shots, query])
            num_tokens = len(self.tokenizer.encode(text)) + 1
            if self.max_tokens is None or num_tokens <= self.max_tokens or not shots:
                return Prompt(text, len(shots), num_tokens)
            del shots[0]

    def _lay_out(self, inputs: str, targets: str) -> str:
        return Template(self.layout, "shot_template")({"inputs": inputs, "targets": targets}, "an example")


def draw_shots(pairs: Sequence[Pair], num_shots: int, *, seed: int, balanced: bool = False) -> list[Pair]:
    """Draws examples in random order; raises ValueError if there are fewer than `num_shots`.

    With `balanced`, the numbers of examples per target differ by at most one, as long as there are enough.
    """
    if num_shots > len(pairs):
        raise ValueError(f"shots is {num_shots}, and there are {len(pairs)} examples: use fewer, or give more")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs)).tolist()
    if not balanced:
        return [pairs[number] for number in order[:num_shots]]
    by_targets: dict[str, list[int]] = {}
    for number in order:
        by_targets.setdefault(pairs[number][1], []).append(number)
    chosen: list[int] = []
    while len(chosen) < num_shots:  # each round takes one example of each target with any left
        chosen += [numbers.pop() for numbers in by_targets.values() if numbers]
    return [pairs[number] for number in rng.permutation(chosen[:num_shots]).tolist()]


def line_field(task: TaskConfig) -> str:
    """Returns the field that a line of plain text fills: the only one of the task's template, or else `inputs`."""
    fields = Template(task.inputs or "", "task.inputs").fields
    return fields.pop() if len(fields) == 1 and task.preprocess is None and "." not in min(fields) else INPUTS


@contextlib.contextmanager
def record_errors(options: InferConfig, prefix: str = "") -> Iterator[None]:
    """Rewrites errors of records if no task is given: there is no task.bad_records to set; adds a prefix."""
    try:
        yield
    except BadRecord as error:
        if options.task is not None:
            raise
        raise BadRecord(prefix + str(error).removesuffix(OR_SKIP)) from error


def template_task(options: InferConfig) -> TaskConfig:
    """Returns a task with the templates given in the options, or else those of the named task."""
    given = {"inputs": options.template, "targets": options.targets_template}
    if options.task is None:
        task = TaskConfig(source=options.examples or options.input, inputs="{inputs}", targets="{targets}")
    else:
        task = resolve_tasks(TaskConfig(base=options.task)).whole
        if task.mixture is not None or task.inputs is None:
            problem = "is a mixture" if task.mixture is not None else "has no inputs"
            raise ValueError(f"task {options.task} {problem}: name a task with inputs and targets, or use template")
    return dataclasses.replace(task, **{name: value for name, value in given.items() if value is not None})


def read_shots(options: InferConfig, *, seed: int) -> list[Pair]:
    """Draws the few-shot examples; raises ValueError if there are too few or one cannot be read."""
    if options.examples is None:
        return []
    task = dataclasses.replace(template_task(options), source=options.examples)
    with tempfile.TemporaryDirectory() as cache, record_errors(options):
        records = open_source(task, options.examples, pathlib.Path(cache), field="examples").records
        rows = read_rows(task, records, range(len(records)), LeftOut())
        pairs = [(row.texts[0], row.texts[1]) for row in rows]
    return draw_shots(pairs, options.shots, seed=seed, balanced=options.balanced)


def make_prompter(options: InferConfig, shots: list[Pair], pretrained: Pretrained) -> Callable[[str], str]:
    """Returns a function from inputs to prompts that warns once on stderr if a prompt exceeds the trained length."""
    length = options.inputs_length or trained_length(options.checkpoint)
    make_prompt = PromptMaker(shots, pretrained.tokenizer, length, options.shot_template, options.shot_separator)
    warned: set[str] = set()

    def warn(kind: str, message: str) -> None:
        if kind not in warned:
            warned.add(kind)
            print(f"{message} (reported once)", file=sys.stderr)

    def prompt(inputs: str) -> str:
        result = make_prompt(inputs)
        if result.num_shots < len(shots):
            fit = f"{result.num_shots} of {len(shots)} examples fit into {length} tokens"
            warn("shots", f"{fit} before {inputs[:40]!r}")
        if length is not None and result.num_tokens > length:
            warn("length", f"{inputs[:40]!r} has {result.num_tokens} tokens; the model was trained with up to {length}")
        return result.text

    return prompt
