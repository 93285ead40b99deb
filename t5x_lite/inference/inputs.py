# SPDX-License-Identifier: Apache-2.0
"""Inputs of `infer` and `embed`: lines of a file or a pipe, records of a source, or a split of a task."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from t5x_lite.checkpoints.model_files import model_files
from t5x_lite.config import TaskConfig
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.inputs import input_maker
from t5x_lite.data.records.rows import convert, is_held_out
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources import named, open_source
from t5x_lite.data.sources.base import Located, Record
from t5x_lite.data.sources.file_content import state_of
from t5x_lite.data.sources.lines import Line, lines_opener, piped_records
from t5x_lite.data.sources.named_files import source_files, task_files
from t5x_lite.data.trust import UntrustedCode, check_trusted
from t5x_lite.files.jsonl_output import STDIO, Share, check_path, part_suffix, paths_on_the_way, tell_replaced
from t5x_lite.files.one_writer import one_writer
from t5x_lite.files.progress import ProgressBar
from t5x_lite.files.run_config import read_run_config
from t5x_lite.files.same_file import File, refuse_overwriting
from t5x_lite.inference.few_shot import INPUTS, line_field, record_errors, template_task

FROM_RUN = ("inputs", "targets", "preprocess", "columns")  # fields of a run's task that its own records need
InputMaker = Callable[[Record, str], list[str]]  # from a record and its location


class Inputs(NamedTuple):
    """Texts to answer or embed."""

    texts: Iterator[str]
    number: int | None  # number of texts, if known
    identity: dict[str, Any] | None  # JSON that identifies the texts; None for a pipe, which cannot be reread

    def output_identity(self, checkpoint: str, step: int, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns everything that an output depends on, to check before resuming; None for a pipe."""
        if self.identity is None:
            return None
        return {"checkpoint": os.path.abspath(checkpoint), "step": step, **self.identity, **options}

    def progress(self, title: str, options: InferConfig, share: Share, num_written: int) -> ProgressBar:
        """Returns a progress bar over the lines of all processes, hidden where it would disturb the output."""
        hidden = options.reads_pipe or options.output == STDIO or share.index > 0
        completed = num_written * share.count
        return ProgressBar(title, self.number, unit="lines", completed=completed, enabled=not hidden)


@contextlib.contextmanager
def open_inputs(options: InferConfig) -> Iterator[Inputs]:
    """Opens the input or the task split, and locks the output against other processes.

    Raises:
      ValueError: if it cannot be read, a record is malformed, or the output cannot be written, is being written by
        another process or is, under whatever name, one of the files that are read.
    """
    task = template_task(options)
    if options.output != STDIO:
        check_path(options.output, "--output")
    output = _descriptors(sys.stdout) if options.output == STDIO else paths_on_the_way(options.output)
    refuse_overwriting(output, _files_read(options, task), "--output")
    part = part_suffix(jax.process_index(), jax.process_count()) if jax.process_index() else ""
    with one_writer(options.output, "--output", part=part), tempfile.TemporaryDirectory() as cache:
        if not part:
            tell_replaced(options.output, "--output")
        if options.split is not None:
            yield _of_split(options, task, pathlib.Path(cache))
        elif options.reads_pipe:
            records = piped_records(sys.stdin, line_field(task), may_be_json=options.has_template)
            yield Inputs(_texts(options, task, records, _input_maker(options, task), []), None, None)
        else:
            yield _of_file(options, task, pathlib.Path(cache))


def _of_split(options: InferConfig, task: TaskConfig, cache: pathlib.Path) -> Inputs:
    names, held_out = task.source, options.split == "eval"
    if task.eval_source is not None:  # no record is held out of the source
        names, held_out = task.eval_source if held_out else task.source, None
    source, skipped = open_source(task, names, cache, field=f"the source of --task {options.task}")
    texts = _texts(options, task, source.read(range(len(source))), _input_maker(options, task), skipped)
    texts = (text for text in texts if held_out is None or is_held_out(text, task.eval_percent) == held_out)
    identity = {"split": options.split, "source": named(names), "records": len(source)}
    return Inputs(texts, len(source) if held_out is None and _has_a_text_each(task) else None, identity)


def _of_file(options: InferConfig, task: TaskConfig, cache: pathlib.Path) -> Inputs:
    make, field = _input_maker(options, task), line_field(task)
    if (own := _own_task(options, task)) is not None:
        task, make = own, _as_in_training(options, own, make)
    with record_errors(options, "--input "):
        open_text = lines_opener(field, may_be_json=options.has_template)
        source, skipped = open_source(task, options.input, cache, field="--input", open_text=open_text)
    identity = _identity(options.input) or {"input": options.input, "records": len(source)}
    texts = _texts(options, task, source.read(range(len(source))), make, skipped)
    return Inputs(texts, len(source) if _has_a_text_each(task) else None, identity)


def _identity(name: str) -> dict[str, Any] | None:
    if not os.path.isfile(name):
        return None
    num_bytes, nanoseconds = state_of(pathlib.Path(name))
    return {"input": os.path.abspath(name), "bytes of it": num_bytes, "time of it": nanoseconds}


def _has_a_text_each(task: TaskConfig) -> bool:
    """Returns whether each record makes one text."""
    return task.preprocess is None and task.bad_records == "error"


def _texts(
    options: InferConfig, task: TaskConfig, records: Iterable[Located], make: InputMaker, skipped: list[str]
) -> Iterator[str]:
    """Yields the texts of records; reports at the end what was skipped, the given files included."""
    with record_errors(options, "" if options.reads_pipe else "--input "):
        yield from convert(task, records, make, skipped)
    if skipped:
        print(f"Skipped {len(skipped):,} bad records or files; the first: {skipped[0]}", file=sys.stderr)


def _input_maker(options: InferConfig, task: TaskConfig) -> InputMaker:
    return input_maker(task, "--template" if options.template is not None or options.task is None else "task.inputs")


def _own_task(options: InferConfig, task: TaskConfig) -> TaskConfig | None:
    """Returns the task as a run had it; None for other models, or if the options say how inputs are made."""
    if options.has_template or options.examples is not None:
        return None
    section = (read_run_config(options.checkpoint) or {}).get("task")
    section = section if isinstance(section, dict) else {}
    fields = {name: section[name] for name in FROM_RUN if section.get(name) is not None}
    if not fields.keys() >= {"inputs", "targets"}:  # text, or a mixture
        return None
    for name, value in fields.items():
        texts = value if name == "columns" else [value]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"{options.checkpoint} has task.{name} {value!r:.80} in its config.yaml, which is damaged: restore "
                "it, or say how inputs are made with --template"
            )
    if "columns" in fields:
        fields["columns"] = tuple(fields["columns"])
    return dataclasses.replace(task, **fields)


def _as_in_training(options: InferConfig, own: TaskConfig, otherwise: InputMaker) -> InputMaker:
    """Returns a maker of inputs that follows a run's task if a record suits it, and else reads its field `inputs`.

    Lines of plain text are inputs themselves.
    """
    name = "the run's task.inputs"

    @functools.cache
    def make_own() -> InputMaker:  # when it is needed: task.preprocess may not be installed, or not be trusted
        instead = "say how inputs are made with --template"
        check_trusted({"preprocess": own.preprocess}, options.checkpoint, options.trust, instead=instead)
        return input_maker(own, name)

    # Without any of these, an optional field is not meant to be empty.
    needed = {field.partition(".")[0] for field in Template(own.inputs or "", name).fields}

    @functools.cache
    def tell() -> None:
        print(
            f"Inputs are built from records as in training, by task.inputs {own.inputs!r}; --template changes this",
            file=sys.stderr,
        )

    def make(record: Record, where: str) -> list[str]:
        has_inputs = INPUTS in record
        if isinstance(record, Line) or (has_inputs and own.preprocess is None and needed.isdisjoint(record)):
            return otherwise(record, where)
        try:
            made = make_own()(record, where)
        except UntrustedCode:
            raise
        except ValueError:
            if has_inputs:
                return otherwise(record, where)
            raise
        tell()
        return made

    return make


def _files_read(options: InferConfig, task: TaskConfig) -> Iterator[File]:
    """Yields the files that are read: the model's, the input's and those of the examples."""
    yield from model_files(options.checkpoint)
    if options.split is not None:
        yield from task_files(task)
    elif options.reads_pipe:
        yield from _descriptors(sys.stdin)
    else:
        yield from source_files(options.input, "--input", any_type=True)
    if options.examples is not None:
        yield from source_files(options.examples, "examples")


def _descriptors(stream: Any) -> list[int]:
    """Returns a stream's file descriptor in a list, which is empty if it has none, as in tests."""
    try:
        return [stream.fileno()]
    except (AttributeError, OSError, ValueError):
        return []
