# SPDX-License-Identifier: Apache-2.0
"""Inputs of `infer`: lines of a file or a pipe, records of a source, or a split of a task."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from t5x_lite.config import TaskConfig
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.rows import input_maker, is_held_out, read_inputs
from t5x_lite.data.sources import named, open_source
from t5x_lite.data.sources.base import Source
from t5x_lite.inference.few_shot import template_task

RECORDS = (".csv", ".tsv", ".parquet", ".array_record", ".gz", ".zst")  # not read line by line


class Inputs(NamedTuple):
    """Texts to answer."""

    texts: Iterator[str]
    number: int | None  # number of texts, if known
    identity: dict[str, Any] | None  # JSON that identifies the texts; None for a pipe, which cannot be reread


@contextlib.contextmanager
def open_inputs(options: InferConfig) -> Iterator[Inputs]:
    """Opens the input or the task split; raises ValueError if it cannot be read, or at a malformed record."""
    if options.split is not None:
        task = template_task(options)
        names, held_out = task.source, options.split == "eval"
        if task.eval_source is not None:  # no record is held out of the source
            names, held_out = task.eval_source if held_out else task.source, None
        with _opened(task, names, f"the source of --task {options.task}") as records:
            is_counted = held_out is None and task.preprocess is None and task.bad_records == "error"
            identity = {"split": options.split, "source": named(names), "records": len(records)}
            yield Inputs(_texts(task, records, held_out), len(records) if is_counted else None, identity)
    elif options.reads_pipe:
        yield Inputs(texts_of(sys.stdin, options), None, None)
    elif os.path.isfile(options.input) and not options.input.endswith(RECORDS):
        with open(options.input, "rb") as file:
            number = sum(1 for _ in file)
        with open(options.input, encoding="utf-8") as lines:
            try:
                yield Inputs(texts_of(lines, options), number, _file_identity(options.input))
            except UnicodeDecodeError as error:
                raise ValueError(f"--input {options.input} is not UTF-8 ({error.reason}): convert it") from error
    else:
        task = dataclasses.replace(template_task(options), text_unit="line")
        with _opened(task, options.input, "--input") as records:
            identity = {"input": options.input, "records": len(records)}
            if os.path.isfile(options.input):
                identity = _file_identity(options.input)
            yield Inputs(_texts(task, records, None), len(records) if task.preprocess is None else None, identity)


def texts_of(file: Iterable[str], options: InferConfig) -> Iterator[str]:
    """Yields the lines of a file; for JSON lines or with a template, the template filled in with each record."""
    lines = (line.rstrip("\n") for line in file)
    if options.template is None and options.task is None and not options.input.endswith(".jsonl"):
        yield from lines
        return
    make_inputs = input_maker(template_task(options))
    for number, line in enumerate(lines, start=1):
        where = f"--input {options.input}, line {number},"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where} is not JSON ({error.msg}): fix it, or use a file of plain lines") from error
        if not isinstance(record, dict):
            raise ValueError(f"{where} is a JSON {type(record).__name__}, not an object with fields: fix it")
        yield from make_inputs(record, where)


@contextlib.contextmanager
def _opened(task: TaskConfig, names: str | tuple[str, ...], field: str) -> Iterator[Source]:
    with tempfile.TemporaryDirectory() as cache:
        yield open_source(task, names, pathlib.Path(cache), field=field).records


def _texts(task: TaskConfig, records: Source, held_out: bool | None) -> Iterator[str]:
    texts = read_inputs(task, records)
    return (text for text in texts if held_out is None or is_held_out(text, task.eval_percent) == held_out)


def _file_identity(path: str) -> dict[str, Any]:
    state = os.stat(path)
    return {"input": os.path.abspath(path), "bytes of it": state.st_size, "time of it": state.st_mtime_ns}
