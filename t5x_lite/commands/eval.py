# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite eval`: prints the metrics of a model on the held-out examples of a task."""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import TextIO

import jax

from t5x_lite.checkpoints.load import load
from t5x_lite.config import RunConfig, TaskConfig
from t5x_lite.data.corpus.manifest import in_words
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.evaluation.api import Measurement, as_trained, checked, opened
from t5x_lite.evaluation.results import as_json, tasks_measured
from t5x_lite.files.progress import ProgressBar
from t5x_lite.parallel.multihost import HangWatch

WORDS = {  # of a table, first, in this order
    "examples": "examples",
    "loss": "loss",
    "loss_text": "loss on text",
    "target_accuracy": "targets right",
    "unigram_text": "unigram entropy of text",
    "unigram_labels": "entropy of the labels",
    "perplexity": "perplexity",
}


def run(
    cfg: RunConfig,
    checkpoint: str,
    *,
    output: str | None = None,
    num_batches: int | None = None,
    print_json: bool = False,
) -> None:
    """Prints what a run's newest checkpoint reaches on the held-out examples of a config's tasks.

    Args:
      cfg: its task, its lengths and its batch size count; where it says so for other text than the run's, that text is
        prepared in a temporary directory. Nothing is written to the run directory.
      checkpoint: the run directory.
      output: file for a JSON line an example, in the order of the held-out text, - for standard output; None for none.
      num_batches: read at most of each task; None reads all.
      print_json: whether to print one JSON object in place of a table.

    Raises:
      ValueError: if the config, the data or the checkpoint is wrong.
    """
    name = cfg.task.base or task_in_words(cfg.task)
    cfg = checked(cfg, num_batches)
    if output == "-" and print_json:
        raise ValueError("--json and --output - both print to standard output: name a file for one of them")
    if output not in (None, "-") and not os.path.isdir(os.path.dirname(output) or "."):
        raise ValueError(f"--output {output} is in a directory that does not exist: make it, or name another file")
    is_first = jax.process_index() == 0
    pretrained = load(checkpoint)
    with (
        ProgressBar("Measuring", unit="batches") as bar,
        opened(cfg, pretrained.tokenizer, pathlib.Path(checkpoint), announce=_say) as corpora,
        HangWatch() as hang_watch,
    ):
        cfg = as_trained(cfg, pretrained.architecture)
        on_batch = functools.partial(_advance, bar, hang_watch)
        measurement = Measurement(cfg, corpora, num_batches, pretrained.architecture, on_batch=on_batch)
        bar.update(total=measurement.num_batches(decodes_all=output is not None))
        model, predictions = measurement.place(pretrained.model), {}
        if output is not None:
            # All of several processes take part; the first one writes.
            with _writer(output if is_first else os.devnull) as file:
                for row in measurement.rows(model, predictions, name):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        results = measurement.results(model, predictions)
    facts = {"checkpoint": checkpoint, "step": pretrained.step, "task": name}
    if not is_first:
        return
    if print_json:
        numbers = {"num_examples": sum(measurement.counts.values())} | results
        print(json.dumps(facts | {key: as_json(value) for key, value in numbers.items()}, ensure_ascii=False))
    else:
        print(
            f"{checkpoint}, step {pretrained.step}: held-out examples of {name}",
            table(measurement.counts, results),
            sep="\n",
            file=sys.stderr if output == "-" else sys.stdout,
        )


def _advance(bar: ProgressBar, hang_watch: HangWatch) -> None:
    bar.advance()
    hang_watch.alive()


def table(counts: Mapping[str, int], results: Mapping[str, float]) -> str:
    """Returns results as lines of a task, a measure and a number.

    Args:
      counts: examples of each task, by the names of `definitions.tasks_of`.
      results: of `Measurement.results`.
    """
    rows = []
    for name, numbers in tasks_measured(results).items():
        is_all = not name and len(counts) > 1
        examples = sum(counts.values()) if is_all else counts[name]
        measures = {"examples": f"{examples:,}"} | {key: f"{value:.3f}" for key, value in numbers.items()}
        measures = {key: measures[key] for key in [*WORDS, *measures] if key in measures}
        # A task's name once, on its first line.
        firsts = itertools.chain(["all" if is_all else name], itertools.repeat(""))
        rows += [(first, WORDS.get(key, key), value) for first, (key, value) in zip(firsts, measures.items())]  # noqa: B905
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = (f"{first:{widths[0]}}  {key:{widths[1]}}  {value:>{widths[2]}}" for first, key, value in rows)
    return "\n".join(lines if len(counts) > 1 else (line[widths[0] :] for line in lines))


def task_in_words(task: TaskConfig) -> str:
    """Returns the names of the tasks of a mixture, or where the held-out text of a task comes from."""
    if task.mixture is not None:
        return ", ".join(tasks_of(task))
    if task.prepared is not None:
        return task.prepared
    return in_words(task, ("source",) if task.eval_source is None else ("eval_source",))


@contextlib.contextmanager
def _writer(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8") as file:
        yield file


def _say(message: str) -> None:
    print(message, file=sys.stderr)
