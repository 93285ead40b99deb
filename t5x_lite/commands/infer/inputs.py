# SPDX-License-Identifier: Apache-2.0
"""What a model is asked about: the lines of a file or a pipe, the records of a source, or a split of a task."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TextIO

from t5x_lite.config import InferConfig, TaskConfig
from t5x_lite.data.records.rows import input_maker, is_held_out
from t5x_lite.data.sources import named, open_source, skip
from t5x_lite.data.sources.base import BadRecord, Source
from t5x_lite.inference.prompts import templates

RECORDS = (".csv", ".tsv", ".parquet", ".array_record", ".gz", ".zst")  # files that are not read line by line


class Inputs(NamedTuple):
    """What a model is asked about."""

    texts: Iterator[str]
    number: int | None  # of the texts; None where it is not known
    identity: dict[str, Any] | None  # what they are, as JSON has it; None of a pipe, which has no second time


@contextlib.contextmanager
def open_inputs(options: InferConfig) -> Iterator[Inputs]:
    """Opens what some options name: a split of their task, or their input.

    Raises:
      ValueError: if it does not exist or cannot be read; while it is read, at the first malformed record.
    """
    if options.split is not None:
        task, names, wanted = _split(options)
        with _opened(task, names, f"the source of --task {options.task}") as records:
            texts, number = _texts(task, records, wanted), None
            if wanted is None and task.preprocess is None and task.bad_records == "error":
                number = len(records)
            yield Inputs(texts, number, {"split": options.split, "source": named(names), "records": len(records)})
    elif options.reads_pipe:
        yield Inputs(inputs_of(sys.stdin, options), None, None)
    elif os.path.isfile(options.input) and not options.input.endswith(RECORDS):
        with _lines(options.input) as lines:
            yield Inputs(inputs_of(lines, options), _num_lines(options.input), _of_file(options.input))
    else:
        task = dataclasses.replace(templates(options), text_unit="line")
        with _opened(task, options.input, "--input") as records:
            is_file = os.path.isfile(options.input)
            about = _of_file(options.input) if is_file else {"input": options.input, "records": len(records)}
            yield Inputs(_texts(task, records, None), len(records) if task.preprocess is None else None, about)


def inputs_of(file: Iterable[str], options: InferConfig) -> Iterator[str]:
    """Yields the inputs of a file: its lines, or, of a .jsonl file or with a template, what that makes of records."""
    lines = (line.rstrip("\n") for line in file)
    if options.template is None and options.task is None and not options.input.endswith(".jsonl"):
        yield from lines
        return
    make_inputs = input_maker(templates(options))
    for number, line in enumerate(lines, start=1):
        where = f"--input {options.input}, line {number},"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where} is not JSON ({error.msg}): mend it, or name a file of plain lines") from error
        if not isinstance(record, dict):
            raise ValueError(f"{where} is a {type(record).__name__} and no object with fields: mend it")
        yield from make_inputs(record, where)


def _split(options: InferConfig) -> tuple[TaskConfig, str | tuple[str, ...], bool | None]:
    """Returns a task, where the records of a split of it are, and whether those held out are wanted; None is all."""
    task = templates(options)
    if task.eval_source is not None:
        return task, task.eval_source if options.split == "eval" else task.source, None
    return task, task.source, options.split == "eval"


@contextlib.contextmanager
def _opened(task: TaskConfig, names: str | tuple[str, ...], field: str) -> Iterator[Source]:
    with tempfile.TemporaryDirectory() as cache:
        yield open_source(task, names, pathlib.Path(cache), field=field).records


def _texts(task: TaskConfig, records: Source, held_out: bool | None) -> Iterator[str]:
    make_inputs = input_maker(task)
    for number in range(len(records)):
        try:
            texts = make_inputs(records[number], records.where(number))
        except BadRecord as error:
            skip(error, task, [])
            continue
        yield from (text for text in texts if held_out is None or is_held_out(text, task.eval_percent) == held_out)


def _of_file(path: str) -> dict[str, Any]:
    state = os.stat(path)
    return {"input": os.path.abspath(path), "bytes of it": state.st_size, "time of it": state.st_mtime_ns}


@contextlib.contextmanager
def _lines(path: str) -> Iterator[TextIO]:
    with open(path, encoding="utf-8") as lines:
        try:
            yield lines
        except UnicodeDecodeError as error:
            raise ValueError(f"--input {path} is not UTF-8 ({error.reason}): convert it") from error


def _num_lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)
