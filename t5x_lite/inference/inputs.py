# SPDX-License-Identifier: Apache-2.0
"""Inputs of `infer` and `embed`: lines of a file or a pipe, records of a source, or a split of a task."""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from t5x_lite.checkpoints.model_files import model_files
from t5x_lite.config import TaskConfig
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.rows import input_maker, is_held_out, read_inputs
from t5x_lite.data.sources import OR_SKIP, named, open_source
from t5x_lite.data.sources.base import BadRecord, Source
from t5x_lite.data.sources.lines import Lines, LinesWithFields, line_record, piped_lines
from t5x_lite.data.sources.named_files import source_files, task_files
from t5x_lite.files.jsonl_output import STDIO, paths_on_the_way
from t5x_lite.files.same_file import refuse_overwriting
from t5x_lite.inference.few_shot import template_task


class Inputs(NamedTuple):
    """Texts to answer or embed."""

    texts: Iterator[str]
    number: int | None  # number of texts, if known
    identity: dict[str, Any] | None  # JSON that identifies the texts; None for a pipe, which cannot be reread


@contextlib.contextmanager
def open_inputs(options: InferConfig) -> Iterator[Inputs]:
    """Opens the input or the task split.

    Raises:
      ValueError: if it cannot be read, a record is malformed, or the output is, under whatever name, one of the files
        that are read.
    """
    task = template_task(options)
    _check_output(options, task)
    with tempfile.TemporaryDirectory() as directory:
        cache = pathlib.Path(directory)
        if options.split is not None:
            names, held_out = task.source, options.split == "eval"
            if task.eval_source is not None:  # no record is held out of the source
                names, held_out = task.eval_source if held_out else task.source, None
            records = open_source(task, names, cache, field=f"the source of --task {options.task}").records
            is_counted = held_out is None and task.preprocess is None and task.bad_records == "error"
            identity = {"split": options.split, "source": named(names), "records": len(records)}
            texts = _texts(options, task, records)
            texts = (text for text in texts if held_out is None or is_held_out(text, task.eval_percent) == held_out)
            yield Inputs(texts, len(records) if is_counted else None, identity)
        elif options.reads_pipe:
            yield Inputs(_piped_texts(options, task), None, None)
        else:
            plain = LinesWithFields if has_template(options) else Lines
            records = open_source(task, options.input, cache, field="--input", plain=plain).records
            identity = {"input": options.input, "records": len(records)}
            if os.path.isfile(options.input):
                identity = _file_identity(options.input)
            is_counted = task.preprocess is None and task.bad_records == "error"
            yield Inputs(_texts(options, task, records), len(records) if is_counted else None, identity)


def _check_output(options: InferConfig, task: TaskConfig) -> None:
    """Raises ValueError if the output, or a file written before it, is read as input, example or part of the model."""
    read: list[pathlib.Path | int] = [*model_files(options.checkpoint)]
    if options.split is not None:
        read += task_files(task)
    elif options.reads_pipe:
        read += _descriptors(sys.stdin)
    else:
        read += source_files(options.input, "--input", LinesWithFields)
    if options.examples is not None:
        read += source_files(options.examples, "examples")
    written = _descriptors(sys.stdout) if options.output == STDIO else paths_on_the_way(options.output)
    refuse_overwriting(written, read, "--output")


def _descriptors(stream: Any) -> list[int]:
    """Returns a stream's file descriptor in a list, which is empty if it has none, as in tests."""
    try:
        return [stream.fileno()]
    except (AttributeError, OSError, ValueError):
        return []


def has_template(options: InferConfig) -> bool:
    """Returns whether a template builds the inputs; otherwise, they are read as they stand."""
    return options.template is not None or options.task is not None


def _template_name(options: InferConfig) -> str:
    return "task.inputs" if options.template is None and options.task is not None else "--template"


def _texts(options: InferConfig, task: TaskConfig, records: Source) -> Iterator[str]:
    try:
        yield from read_inputs(task, records, name=_template_name(options))
    except BadRecord as error:
        if options.task is not None:
            raise
        # Without a task, there is no task.bad_records to set.
        raise BadRecord(f"--input {str(error).removesuffix(OR_SKIP)}") from error


def _piped_texts(options: InferConfig, task: TaskConfig) -> Iterator[str]:
    if not has_template(options):
        yield from (text for text, _ in piped_lines(sys.stdin))
        return
    make_inputs = input_maker(task, _template_name(options))
    for text, where in piped_lines(sys.stdin):
        if text.strip():
            yield from make_inputs(line_record(text, where, otherwise={"text": text}), where)


def _file_identity(path: str) -> dict[str, Any]:
    state = os.stat(path)
    return {"input": os.path.abspath(path), "bytes of it": state.st_size, "time of it": state.st_mtime_ns}
