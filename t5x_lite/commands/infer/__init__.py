# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite infer`: answers each line of a file with a model; the output is JSON lines."""

import contextlib
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t5x_lite.checkpoints.load import Pretrained, generation_config, load
from t5x_lite.commands.infer.inputs import Inputs, open_inputs
from t5x_lite.config import GenerationConfig, InferConfig
from t5x_lite.files.jsonl_output import STDIO, Share, resumable_lines
from t5x_lite.inference.api import WINDOW_BATCHES, answer_lines
from t5x_lite.inference.loop import HERE, Devices
from t5x_lite.inference.prompts import prompt_maker, read_shots
from t5x_lite.parallel.mesh import batch_sharding, make_mesh

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


def run(options: InferConfig, settings: Mapping[str, Any] | None = None) -> None:
    """Answers every line of a file; the same command again goes on where it stopped.

    Each row of the output has `inputs`, the line; and `prediction`, what the model decoded, or the labels it chose. An
    encoder-decoder's has `filled` too, the line with its blanks replaced; a sequence classifier's `probabilities` of
    all labels. With several sequences a line, `predictions` has all, the best first, and `scores` theirs.

    Args:
      options: what to read and write.
      settings: fields of `GenerationConfig`, in place of the model's own and the defaults.

    Raises:
      ValueError: if the checkpoint or the input cannot be read, or another command began the output.
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
            resumable_lines(options.output, identity, share, name="--output") as output,
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


@contextlib.contextmanager
def _progress(options: InferConfig, number: int | None) -> Iterator[Callable[[int], None]]:
    """Shows how many lines are done, on a terminal that shows nothing else of it."""
    console = Console(file=sys.stderr)
    hidden = not console.is_terminal or options.reads_pipe or options.output == STDIO or jax.process_index() > 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=hidden) as bar:
        shown = bar.add_task("answering", total=number)
        yield lambda count: bar.advance(shown, count)
