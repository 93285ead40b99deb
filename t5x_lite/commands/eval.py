# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite eval`: prints a model's results on the held-out examples of a task."""

import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.checkpoints.model_files import model_files
from t5x_lite.config import RunConfig
from t5x_lite.data.corpus.manifest import in_words
from t5x_lite.data.sources.named_files import task_files
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.evaluation import answers
from t5x_lite.evaluation.api import checked_tasks, held_out_corpora, held_out_spec, make_evaluation, measure, replicate
from t5x_lite.evaluation.evaluator import Evaluation
from t5x_lite.evaluation.metrics import reads
from t5x_lite.evaluation.results import as_json, by_task
from t5x_lite.evaluation.words import LABELS, unit_of
from t5x_lite.files.closed_pipe import opened_output
from t5x_lite.files.jsonl_output import STDIO, check_path, tell_replaced
from t5x_lite.files.one_writer import one_writer
from t5x_lite.files.progress import ProgressBar
from t5x_lite.files.run_config import resolved
from t5x_lite.files.same_file import refuse_overwriting
from t5x_lite.parallel.multihost import Watchdog


def run(
    cfg: RunConfig,
    checkpoint: str,
    *,
    step: int | None = None,
    output: str | None = None,
    num_batches: int | None = None,
    print_json: bool = False,
) -> None:
    """Prints the results of a checkpoint on the held-out examples of a config's tasks.

    Args:
      cfg: the config; only its task, lengths, batch size and revision matter. The run directory is never written to:
        text missing there is prepared in a temporary directory.
      checkpoint: the run directory, or a model.
      step: the step of the run's checkpoint; None is the newest.
      output: the file for a JSON line per example, in the order of the held-out text; - for standard output.
      num_batches: the maximum number of batches per task; None for all.
      print_json: whether to print one JSON object instead of a table.
    """
    tasks = checked_tasks(cfg.task, num_batches)
    if output == STDIO and print_json:
        raise ValueError("--json and --output - both print to standard output: name a file for one of them")
    if output is not None:
        if output != STDIO:
            check_path(output, "--output")
        read = itertools.chain(model_files(checkpoint), *map(task_files, tasks.each.values()))
        refuse_overwriting([output], read, "--output")
    is_first, name = jax.process_index() == 0, cfg.task.base or in_words_of(tasks)
    with one_writer(output if is_first else None, "--output"):
        if output is not None and is_first:
            tell_replaced(output, "--output")
        pretrained, cfg = load(checkpoint, step=step), resolved(cfg, checkpoint)
        counts, results = evaluate(cfg, pretrained, tasks, checkpoint, output=output, num_batches=num_batches)
    if not is_first:
        return
    if print_json:
        facts = {"checkpoint": checkpoint, "step": pretrained.step, "task": name, "num_examples": sum(counts.values())}
        print(json.dumps(facts | {key: as_json(value) for key, value in results.items()}, ensure_ascii=False))
    else:
        title = f"{checkpoint}, step {pretrained.step}: held-out examples of {name}"
        print(title, table(counts, results), sep="\n", file=sys.stderr if output == STDIO else sys.stdout)


def evaluate(
    cfg: RunConfig,
    pretrained: Pretrained,
    tasks: TaskSpecs,
    checkpoint: str,
    *,
    output: str | None,
    num_batches: int | None,
) -> tuple[dict[str, int], dict[str, float]]:
    """Returns the number of examples per task, and the results; writes the output."""
    is_first, name = jax.process_index() == 0, cfg.task.base or in_words_of(tasks)
    pretrained.architecture.check_predicts()
    with (
        ProgressBar("Evaluating", unit="batches", enabled=is_first) as bar,
        held_out_corpora(tasks, pretrained.tokenizer, pathlib.Path(checkpoint), announce=bar.print) as corpora,
        Watchdog() as watchdog,
    ):

        def on_batch() -> None:
            bar.advance()
            watchdog.heartbeat()

        spec = held_out_spec(cfg, tasks, pretrained.architecture, start_id=pretrained.config.start_id)
        evaluation = make_evaluation(spec, corpora, cfg.train.batch_size, num_batches, on_batch=on_batch)
        bar.update(total=count_batches(evaluation, predict_all=output is not None))
        model, predictions = replicate(pretrained.model, evaluation.mesh), {}
        if output is not None:
            path = output if is_first else os.devnull  # all processes predict, the first writes
            with opened_output(path) as file:
                for row in rows(evaluation, model, predictions, name):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        results = measure(evaluation, model, predictions)
    return {task: len(evaluation.numbers(task)) for task in evaluation.examples}, results


def count_batches(evaluation: Evaluation, *, predict_all: bool) -> int:
    """Returns the number of batches an evaluation passes through the model, for the loss, predictions and scores."""
    passes = {}
    for name, corpus in evaluation.corpora.items():
        read = reads(corpus.task.metrics)
        passes[name] = 1 + (predict_all or "predictions" in read) + ("scores" in read)
    return sum(-(-len(evaluation.numbers(name)) // evaluation.batch_size) * count for name, count in passes.items())


def rows(evaluation: Evaluation, model: Any, predictions: dict[str, list[str]], label: str) -> Iterator[dict[str, Any]]:
    """Yields the inputs, prediction and targets of each example, in the order of the held-out text.

    Stores each task's predictions in `predictions`; `label` is the name of a task outside a mixture.
    """
    for name, corpus in evaluation.corpora.items():
        with jax.set_mesh(evaluation.mesh):
            predictions[name] = answers.predictions(evaluation, name, model)
        texts = answers.texts(evaluation, name)
        references = answers.references(evaluation, name) if corpus.has_pairs else None
        for i in np.argsort(evaluation.numbers(name)):
            inputs, targets = texts[i]
            row = {"task": name or label, "inputs": inputs, "prediction": predictions[name][i], "targets": targets}
            if references is not None:  # the targets as in the source, not truncated
                row["targets"] = references[i].targets
                row |= {"answers": list(references[i].answers)} if references[i].answers else {}
            yield row


def table(counts: Mapping[str, int], results: Mapping[str, float]) -> str:
    """Formats results as lines of task, name and value; `counts` holds the number of examples per task."""
    lines = []
    for task, numbers in by_task(results).items():
        is_total = not task and len(counts) > 1
        examples = sum(counts.values()) if is_total else counts[task]
        values = {"examples": f"{examples:,}"} | {key: f"{value:.3f}" for key, value in numbers.items()}
        # Only the first line of a task shows its name.
        firsts = itertools.chain(["all" if is_total else task], itertools.repeat(""))
        names = [name for name in [*LABELS, *numbers] if name in values]
        lines += [(next(firsts), LABELS.get(name, name), values[name], unit_of(name)) for name in dict.fromkeys(names)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = (
        f"{task:{widths[0]}}  {name:{widths[1]}}  {value:>{widths[2]}}  {unit}".rstrip()
        for task, name, value, unit in lines
    )
    return "\n".join(texts if len(counts) > 1 else (text[widths[0] :] for text in texts))


def in_words_of(tasks: TaskSpecs) -> str:
    """Returns the names of a mixture's tasks, or the source of a single task's held-out text."""
    task = tasks.whole
    if task.mixture is not None:
        return ", ".join(tasks.each)
    if task.prepared is not None:
        return task.prepared
    return in_words(task, ("source",) if task.eval_source is None else ("eval_source",))
