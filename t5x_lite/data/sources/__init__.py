# SPDX-License-Identifier: Apache-2.0
"""Where documents come from: `read_documents` reads whatever `task.source` names."""

import importlib
import inspect
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.sources.docstrings import read_docstrings
from t5x_lite.data.sources.files import find_files, open_file
from t5x_lite.data.sources.records import BadRecord, Concatenated, InMemory, Record, Source
from t5x_lite.data.sources.tfds import PREFIX, open_class, open_named
from t5x_lite.data.templates import Template

Names = str | tuple[str, ...]
OBJECT_PATTERN = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)(?:@(?P<split>.+))?")


class Documents(NamedTuple):
    """What a source gives a task, and what was left out."""

    rows: list[tuple[str, ...]]  # (text,) of a document, (inputs, targets) of a supervised task
    num_short: int  # empty, or with fewer than `task.min_characters`
    skipped: list[str]  # what was wrong with each record, and each file, that was left out


def read_documents(task: TaskConfig, names: Names, cache: pathlib.Path) -> Documents:
    """Reads all that a source has for a task.

    Args:
      task: says what to make of a record.
      names: `task.source` or `task.eval_source`.
      cache: directory for uncompressed copies of files.

    Raises:
      ValueError: if a source does not exist or is damaged, or has no document; BadRecord names the first malformed
        record unless `task.bad_records` is skip.
    """
    if names == DOCSTRINGS:
        return Documents([(text,) for text in read_docstrings(task.packages, task.min_characters)], 0, [])
    source, skipped = open_source(task, names, cache)
    make_row, rows, num_short = _row_maker(task), [], 0
    fewest = max(1, task.min_characters if task.inputs is None else 1)
    for index in range(len(source)):
        try:
            row = make_row(source[index], source.where(index))
        except BadRecord as error:
            _skip(error, task, skipped)
            continue
        if min(len(text.strip()) for text in row) < fewest:
            num_short += 1
        else:
            rows.append(row)
    if not rows:
        short = "empty" if task.inputs is not None else f"shorter than task.min_characters {task.min_characters}"
        reasons = [f"{num_short} are {short}"] if num_short else []
        reasons += [f"{len(skipped)} were skipped, the first because {skipped[0]}"] if skipped else []
        raise ValueError(
            f"task.source {named(names)} has nothing to learn from: {', and '.join(reasons) or 'no record'}"
        )
    return Documents(rows, num_short, skipped)


def _row_maker(task: TaskConfig) -> Callable[[Record, str], tuple[str, ...]]:
    """Returns what turns a record, and where it came from, into the texts of a row."""
    if task.inputs is None or task.targets is None:
        text = Template(task.text, "task.text")
        return lambda record, where: (text(record, where),)
    inputs, targets = Template(task.inputs, "task.inputs"), Template(task.targets, "task.targets")
    choices = task.choices

    def pair(record: Record, where: str) -> tuple[str, str]:
        answer = targets(record, where)
        if choices is not None:
            if answer not in choices:
                raise BadRecord(
                    f"{where} has the targets {answer!r}, and task.choices names {', '.join(choices)}: add it there"
                )
            answer = choices[answer]
        return inputs(record, where), answer

    return pair


def open_source(task: TaskConfig, names: Names, cache: pathlib.Path) -> tuple[Source, list[str]]:
    """Opens what a task names: its records by number, and what is wrong with each file that was left out.

    Args:
      task: says how text and tables are read.
      names: of the source; anything but docstrings.
      cache: directory for uncompressed copies of files.

    Raises:
      ValueError: if the source does not exist or is damaged as a whole.
    """
    opened, skipped, files = [], [], []
    for name in (names,) if isinstance(names, str) else names:
        python = OBJECT_PATTERN.fullmatch(name)
        if name.startswith(PREFIX):
            opened.append(open_named(name))
        elif python and not pathlib.Path(name).exists():
            opened.append(_open_object(name, python))
        else:
            files.append(name)
    for path in find_files(files) if files else ():
        source = open_file(path, task, cache)
        if len(source):
            opened.append(source)
        else:
            _skip(BadRecord(f"{path} is empty: fill or remove it"), task, skipped)
    if not opened:
        raise ValueError(f"task.source {named(names)} has nothing to learn from: its files are empty")
    return Concatenated(opened), skipped


def _open_object(name: str, parts: re.Match[str]) -> Source:
    """Opens what `package.module:NAME` is: a builder class of TFDS, a function that returns records, or records."""
    try:
        found = getattr(importlib.import_module(parts["module"]), parts["name"])
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"task.source {name!r} cannot be imported ({error}): name a function as package.module:FUNCTION, and have "
            "the package installed or in PYTHONPATH"
        ) from error
    if isinstance(found, type) and hasattr(found, "as_data_source"):
        return open_class(found, parts["split"], name)
    if callable(found):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise ValueError(f"task.source {name!r} needs arguments ({error}): name a function without any") from error
    records: Any = found() if callable(found) else found
    if not (hasattr(records, "__len__") and hasattr(records, "__getitem__")):
        raise ValueError(
            f"task.source {name!r} gave a {type(records).__name__}: make it return a list, or another sequence with a "
            "length and items by number"
        )
    return InMemory(records, name)


def _skip(error: BadRecord, task: TaskConfig, skipped: list[str]) -> None:
    if task.bad_records == "error":
        raise BadRecord(f"{error}; or set task.bad_records to skip") from error
    skipped.append(str(error))


def named(names: Names) -> str:
    """Returns the names of a source as one text."""
    return names if isinstance(names, str) else ", ".join(names)
