# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite infer`: writes a model's answer to each line or record of an input as JSON lines."""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from typing import Any

import jax

from t5x_lite.checkpoints.load import Pretrained, generation_config, load
from t5x_lite.config.commands import InferConfig
from t5x_lite.config.generation import RENAMED, GenerationConfig
from t5x_lite.files.jsonl_output import Share, resumable_lines
from t5x_lite.inference.api import answer_all
from t5x_lite.inference.engine import SENTINEL, WINDOW_BATCHES, Answer, Request, fill_in
from t5x_lite.inference.few_shot import make_prompter, read_shots
from t5x_lite.inference.inputs import Inputs, open_inputs
from t5x_lite.inference.loop import devices_of
from t5x_lite.parallel.local import local_mesh

# Options that do not affect the rows, or that `_identity` records in more detail.
NOT_IDENTIFYING = ("checkpoint", "step", "interactive", "input", "output", "batch_size", "mesh", "trust")


def run(options: InferConfig, settings: Mapping[str, Any] | None = None) -> None:
    """Answers every line of the input; the same command resumes where it stopped.

    Each output row has `inputs`, the line, and `prediction`, the decoded text or the labels. An encoder-decoder adds
    `filled` to lines with blanks such as <extra_id_0>: the line with its blanks filled in. A sequence classifier adds
    the `probabilities` of all labels. With several sequences per line, `predictions` holds all of them, best first,
    and `scores` their scores.

    Args:
      options: the model, its inputs and the output.
      settings: fields of `GenerationConfig` that override the model's own.

    Raises:
      ValueError: if the checkpoint or the input cannot be read, or the output was started by a different command.
    """
    with open_inputs(options) as inputs:
        # Check the settings before loading the model, which may take minutes.
        config = dataclasses.replace(generation_config(options.checkpoint), **(settings or {}))
        shots = read_shots(options, seed=config.seed)
        mesh = local_mesh(options.mesh)  # each process answers its own lines
        pretrained = load(options.checkpoint, mesh, step=options.step)
        pretrained.architecture.check_predicts()
        identity = _identity(options, inputs, pretrained, config)
        batch_size = devices_of(pretrained.model).rounded(options.batch_size)
        share = Share(jax.process_index(), jax.process_count(), batch_size * WINDOW_BATCHES)
        with (
            resumable_lines(options.output, identity, share, name="--output") as output,
            inputs.progress("Answering", options, share, output.num_written) as bar,
        ):
            prompt = make_prompter(options, shots, pretrained)
            numbered = itertools.islice(share.of(enumerate(inputs.texts)), output.num_written, None)
            numbered, lines = itertools.tee(numbered)
            answers = answer_all(
                pretrained,
                (Request(prompt(line), config, stream=number) for number, line in numbered),
                batch_size=batch_size,
                num_batches=1 if options.reads_pipe else WINDOW_BATCHES,  # answers a pipe's lines as they arrive
                scores=options.log_probs or config.temperature > 0,
            )
            for (_, line), answer in zip(lines, answers, strict=True):
                row = make_row(line, answer, pretrained, log_probs=options.log_probs)
                output.write(json.dumps(row, ensure_ascii=False))
                bar.advance(share.count)


def make_row(line: str, answer: Answer, pretrained: Pretrained, *, log_probs: bool) -> dict[str, Any]:
    """Returns the output row of a line; see `run`."""
    best = answer.sequences[0]
    row: dict[str, Any] = {"inputs": line, "prediction": best.text}
    if pretrained.architecture.traits.fills_spans and SENTINEL.search(line):
        row["filled"] = fill_in(line, best.text)
    if answer.probabilities:
        row["probabilities"] = answer.probabilities
    if best.score is not None:
        row["score"] = best.score
    if len(answer.sequences) > 1:
        row["predictions"] = [decoded.text for decoded in answer.sequences]
        if best.score is not None:
            row["scores"] = [decoded.score for decoded in answer.sequences]
    if log_probs and best.log_probs:
        row |= {"tokens": best.tokens, "log_probs": best.log_probs}
    return row


def _identity(
    options: InferConfig, inputs: Inputs, pretrained: Pretrained, config: GenerationConfig
) -> dict[str, Any] | None:
    fields = {name: value for name, value in dataclasses.asdict(options).items() if name not in NOT_IDENTIFYING}
    # So that outputs of earlier versions can be resumed, fields have their old names, and none has one that is new.
    old_names = {new: old for old, new in RENAMED.items()}
    settings = {name: value for name, value in dataclasses.asdict(config).items() if value}
    if config.scores_as == GenerationConfig.scores_as:
        del settings["scores_as"]
    fields |= {old_names.get(name, name): value for name, value in settings.items()}
    return inputs.output_identity(options.checkpoint, pretrained.step, fields)
