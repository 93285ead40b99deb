# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite embed`: writes the embedding of each line or record of an input."""

import contextlib
import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.config.commands import EmbedConfig
from t5x_lite.files.array_output import growing_array
from t5x_lite.files.jsonl_output import Share, resumable_lines
from t5x_lite.inference.encode import Embedding, Plan, cut_message, embed_all, make_plan, num_features
from t5x_lite.inference.engine import WINDOW_BATCHES
from t5x_lite.inference.inputs import Inputs, open_inputs
from t5x_lite.parallel.local import local_mesh

# Options that do not affect the vectors, or that are recorded otherwise.
NOT_IDENTIFYING = ("checkpoint", "step", "input", "output", "batch_size", "mesh", "trust")


def run(options: EmbedConfig) -> None:
    """Embeds every line of the input.

    A JSON lines file has a row per line: `inputs`, the text; `embedding`, its vector, or without pooling `embeddings`,
    the vectors of all its tokens; and `truncated`, true if the text was cut. The same command resumes the file. A .npy
    file has only the vectors, float32 [lines, features], and is always written from the start.

    Raises:
      ValueError: if the checkpoint or the input cannot be read, the model has no encoder, or the output was started by
        a different command.
    """
    with open_inputs(options.reading) as inputs:
        pretrained = load(options.checkpoint, local_mesh(options.mesh), step=options.step)
        plan = make_plan(pretrained, options.encoding)
        share = Share(jax.process_index(), jax.process_count(), options.batch_size * WINDOW_BATCHES)
        identity, num_cut, number = _identity(options, inputs, pretrained), 0, 0
        with (
            _opened_output(options, identity, share, num_features(pretrained, plan)) as (write, num_written),
            inputs.progress("Embedding", options.reading, share, num_written) as bar,
        ):
            mine = (text for _, text in share.of(enumerate(inputs.texts)))
            texts, lines = itertools.tee(itertools.islice(mine, num_written, None))
            for line, embedding in zip(lines, _embeddings(options, pretrained, texts, plan), strict=True):
                write(line, embedding)
                num_cut, number = num_cut + embedding.is_cut, number + 1
                bar.advance(share.count)
    if told := cut_message(num_cut, number, plan):
        print(told, file=sys.stderr)


@contextlib.contextmanager
def _opened_output(
    options: EmbedConfig, identity: dict[str, Any] | None, share: Share, num_columns: int
) -> Iterator[tuple[Callable[[str, Embedding], object], int]]:
    """Yields a function that writes a line's embedding, and the number of lines written by earlier attempts."""
    if not options.writes_array:
        with resumable_lines(options.output, identity, share, name="--output") as output:
            yield lambda line, embedding: output.write(make_row(line, embedding)), output.num_written
        return
    if share.count > 1:
        raise ValueError(f"--output is {options.output}, which several processes cannot share: use a .jsonl file")
    with growing_array(pathlib.Path(options.output), num_columns) as append:
        yield lambda _, embedding: append(embedding.values), 0


def make_row(line: str, embedding: Embedding) -> str:
    """Returns the output row of a line, as JSON; see `run`."""
    row: dict[str, Any] = {"inputs": line}
    if embedding.values.ndim == 1:
        row["embedding"] = _numbers(embedding.values)
    else:
        row["embeddings"] = [_numbers(values_D) for values_D in embedding.values]
    return json.dumps(row | ({"truncated": True} if embedding.is_cut else {}), ensure_ascii=False)


def _numbers(values: np.ndarray) -> list[float]:
    """Returns float32 values with no more digits than they need."""
    return [float(str(value)) for value in values]


def _embeddings(options: EmbedConfig, pretrained: Pretrained, texts: Iterator[str], plan: Plan) -> Iterator[Embedding]:
    # A pipe's lines are embedded as they arrive; the states of all tokens of many texts would fill the memory.
    num_batches = 1 if options.reading.reads_pipe or plan.head.pooling == "none" else WINDOW_BATCHES
    return embed_all(pretrained, texts, plan, batch_size=options.batch_size, num_batches=num_batches)


def _identity(options: EmbedConfig, inputs: Inputs, pretrained: Pretrained) -> dict[str, Any] | None:
    fields = {name: value for name, value in dataclasses.asdict(options).items() if name not in NOT_IDENTIFYING}
    return inputs.output_identity(options.checkpoint, pretrained.step, fields)
