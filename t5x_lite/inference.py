# SPDX-License-Identifier: Apache-2.0
"""Lines of inputs in, JSON lines with what a model makes of them out: blanks filled in, texts, labels."""

import contextlib
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t5x_lite.answering import Answer, Request, answer_batch, batched, fill_in, laid_out
from t5x_lite.config import GenerationConfig, InferConfig
from t5x_lite.decode.generation import HERE, Devices
from t5x_lite.inputs import Inputs, open_inputs
from t5x_lite.line_files.resumable import STDIO
from t5x_lite.line_files.shared import Share, shared_lines
from t5x_lite.pretrained import Pretrained, generation_config, load
from t5x_lite.prompting import prompt_maker, read_shots
from t5x_lite.sharding import batch_sharding, make_mesh

# What rows depend on, beside the model, the input and how it decodes.
IDENTIFYING = (
    "template",
    "task",
    "split",
    "shots",
    "examples",
    "targets_template",
    "balanced",
    "shot_template",
    "shot_separator",
    "inputs_length",
    "log_probs",
)
WINDOW_BATCHES = 16  # lines are sorted by length within so many batches, and written in their order


def run(options: InferConfig, settings: Mapping[str, Any] | None = None) -> None:
    """Answers every line of a file; the same command again goes on where it stopped.

    Each row of the output has `inputs`, the line; and `prediction`, what the model decoded, or the labels it chose. An
    encoder-decoder's has `filled` too, the line with its blanks replaced; a sequence classifier's `probabilities` of
    all labels. With several sequences a line, `predictions` has all, the best first, and `scores` theirs.

    Args:
      options: what to read and write.
      settings: fields of `GenerationConfig`, in place of the model's own and the defaults.

    Raises:
      ValueError: if the checkpoint or the input cannot be read, or the output has the beginning of something else.
    """
    with open_inputs(options) as inputs:
        # What is wrong with the settings is said before a model is read for minutes.
        config = dataclasses.replace(generation_config(options.checkpoint), **(settings or {}))
        shots = read_shots(options, seed=config.seed)
        mesh = _local_mesh(options)
        options = dataclasses.replace(options, batch_size=_batch_size(options, mesh))
        pretrained = load(options.checkpoint, mesh)
        identity = _identity(options, inputs, pretrained, config)
        share = Share(jax.process_index(), jax.process_count(), options.batch_size * WINDOW_BATCHES)
        with (
            shared_lines(options.output, identity, share, name="--output") as output,
            _progress(options, inputs.number) as tick,
        ):
            tick(output.num_written * share.count)
            numbered = itertools.islice(share.of(enumerate(inputs.texts)), output.num_written, None)
            prompt = prompt_maker(options, shots, pretrained)
            for row in answer_lines(pretrained, numbered, options, config, prompt=prompt, devices=_devices(mesh)):
                output.write(json.dumps(row, ensure_ascii=False))
                tick(share.count)


def _local_mesh(options: InferConfig) -> Mesh | None:
    """Returns this process's own devices, for each process answers its own lines; None if there is one in all."""
    mesh = make_mesh(options.mesh, jax.local_devices())
    return mesh if jax.device_count() > 1 else None


def _batch_size(options: InferConfig, mesh: Mesh | None) -> int:
    """Returns how many lines are decoded at once, the same number on each device."""
    parts = 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]
    return -(-options.batch_size // parts) * parts


def _devices(mesh: Mesh | None) -> Devices:
    if mesh is None:
        return HERE
    return Devices(lambda rows: jax.device_put(rows, batch_sharding(mesh)))


def _identity(
    options: InferConfig, inputs: Inputs, pretrained: Pretrained, config: GenerationConfig
) -> dict[str, Any] | None:
    """Returns what the rows of an output depend on; None if a pipe is read, which has no second time."""
    if inputs.identity is None:
        return None
    return {
        "checkpoint": os.path.abspath(options.checkpoint),
        "step": pretrained.step,
        **inputs.identity,
        **{name: getattr(options, name) for name in IDENTIFYING},
        **{name: value for name, value in dataclasses.asdict(config).items() if value},
    }


def generate(pretrained: Pretrained, inputs: Sequence[str], *, batch_size: int = 8, **settings: Any) -> list[Any]:
    """Returns what a model answers to each of some texts: a str, or a list of them with num_return_sequences above 1.

        generate(load("my_run"), ["translate English to German: Good morning."], num_beams=4)

    Args:
      pretrained: what `load` returns.
      inputs: as the model is to read them.
      batch_size: texts decoded at once.
      **settings: fields of `GenerationConfig`, such as max_new_tokens, temperature or num_beams.

    Raises:
      ValueError: if a setting is out of its range, or contradicts another one.
      TypeError: if there is no such setting.
    """
    config = dataclasses.replace(pretrained.generation, **settings)
    options = InferConfig(checkpoint="", batch_size=batch_size)
    answers = [answer for _, answer in _answers(pretrained, enumerate(inputs), options, config)]
    if config.num_return_sequences > 1:
        return [[decoded.text for decoded in answer.sequences] for answer in answers]
    return [answer.sequences[0].text for answer in answers]


def answer_lines(
    pretrained: Pretrained,
    numbered: Iterable[tuple[int, str]],
    options: InferConfig,
    config: GenerationConfig,
    *,
    prompt: Callable[[str], str] = str,
    devices: Devices = HERE,
) -> Iterator[dict[str, Any]]:
    """Yields a row for each line, in their order.

    Args:
      pretrained: what `load` returns.
      numbered: the inputs, each with its number, which what is drawn depends on.
      options: of which `template`, `output` and what makes prompts mean nothing here.
      config: how to decode.
      prompt: makes what the model reads from a line.
      devices: that the model is on.
    """
    for line, answer in _answers(pretrained, iter(numbered), options, config, prompt=prompt, devices=devices):
        best = answer.sequences[0]
        row: dict[str, Any] = {"inputs": line, "prediction": best.text}
        if pretrained.architecture.name == "encoder_decoder":
            row["filled"] = fill_in(line, best.text)
        if answer.probabilities:
            row["probabilities"] = answer.probabilities
        if best.score is not None:
            row["score"] = best.score
        if len(answer.sequences) > 1:
            row["predictions"] = [decoded.text for decoded in answer.sequences]
            if best.score is not None:
                row["scores"] = [decoded.score for decoded in answer.sequences]
        if options.log_probs and best.log_probs:
            row |= {"tokens": best.tokens, "log_probs": best.log_probs}
        yield row


def _answers(
    pretrained: Pretrained,
    numbered: Iterator[tuple[int, str]],
    options: InferConfig,
    config: GenerationConfig,
    *,
    prompt: Callable[[str], str] = str,
    devices: Devices = HERE,
) -> Iterator[tuple[str, Answer]]:
    """Yields each line with its answer; lines of similar length are decoded together."""
    # From a pipe, lines are answered as they come.
    pretrained = laid_out(pretrained)
    num_batches = 1 if options.reads_pipe and options.checkpoint else WINDOW_BATCHES
    while window := list(itertools.islice(numbered, options.batch_size * num_batches)):
        answers: dict[int, Answer] = {}
        by_length = sorted(window, key=lambda numbered: -len(numbered[1]))
        for batch in batched(by_length, options.batch_size):
            requests = [Request(prompt(line), config, stream=number) for number, line in batch]
            answered = answer_batch(
                pretrained,
                requests,
                batch_size=options.batch_size,
                scores=options.log_probs or config.temperature > 0,
                devices=devices,
            )
            answers |= {number: answer for (number, _), answer in zip(batch, answered, strict=True)}
        yield from ((line, answers[number]) for number, line in window)


@contextlib.contextmanager
def _progress(options: InferConfig, number: int | None) -> Iterator[Callable[[int], None]]:
    """Shows how many lines are done, on a terminal that shows nothing else of it."""
    console = Console(file=sys.stderr)
    hidden = not console.is_terminal or options.reads_pipe or options.output == STDIO or jax.process_index() > 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=hidden) as bar:
        shown = bar.add_task("answering", total=number)
        yield lambda count: bar.advance(shown, count)
