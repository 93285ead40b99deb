# SPDX-License-Identifier: Apache-2.0
"""Where documents come from: `read_documents` reads whatever `task.source` names."""

import importlib
import pathlib
import re
from typing import NamedTuple

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.docstrings import read_docstrings
from t5x_lite.data.sources.files import find_files, open_file
from t5x_lite.data.sources.records import BadRecord, Concatenated, InMemory, Source
from t5x_lite.data.templates import Template

DOCSTRINGS = "docstrings"
FUNCTION_PATTERN = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


class Documents(NamedTuple):
    """The documents of a source, and what was left out."""

    texts: list[str]
    num_short: int  # with fewer than `task.min_characters`
    skipped: list[str]  # what was wrong with each record, and each file, that was left out


def read_documents(task: TaskConfig, cache: pathlib.Path) -> Documents:
    """Reads all documents of a task.

    Args:
      task: names the source.
      cache: directory for uncompressed copies of files.

    Raises:
      ValueError: if a source does not exist or is damaged, or has no document; BadRecord names the first malformed
        record unless `task.bad_records` is skip.
      FileNotFoundError: if a file disappears.
    """
    if task.source == DOCSTRINGS:
        return Documents(read_docstrings(task.packages, task.min_characters), 0, [])
    source, skipped = open_source(task, cache)
    template, texts, num_short = Template(task.text, "task.text"), [], 0
    for index in range(len(source)):
        try:
            text = template(source[index], source.where(index))
        except BadRecord as error:
            _skip(error, task, skipped)
            continue
        if len(text.strip()) < max(1, task.min_characters):
            num_short += 1
        else:
            texts.append(text)
    if not texts:
        reasons = [f"{num_short} are shorter than task.min_characters {task.min_characters}"] if num_short else []
        reasons += [f"{len(skipped)} were skipped, the first because {skipped[0]}"] if skipped else []
        raise ValueError(
            f"task.source {_named(task)} has no document to learn from: {', and '.join(reasons) or 'none'}"
        )
    return Documents(texts, num_short, skipped)


def open_source(task: TaskConfig, cache: pathlib.Path) -> tuple[Source, list[str]]:
    """Opens what a task names: its records by number, and what is wrong with each file that was left out.

    Args:
      task: names the source; anything but docstrings.
      cache: directory for uncompressed copies of files.

    Raises:
      ValueError: if the source does not exist or is damaged as a whole.
    """
    names = (task.source,) if isinstance(task.source, str) else task.source
    opened, skipped, files = [], [], []
    for name in names:
        function = FUNCTION_PATTERN.fullmatch(name)
        if function and not pathlib.Path(name).exists():
            opened.append(InMemory(_call(name, *function.groups()), name))
        else:
            files.append(name)
    for path in find_files(files) if files else ():
        source = open_file(path, task, cache)
        if len(source):
            opened.append(source)
        else:
            _skip(BadRecord(f"{path} is empty: fill or remove it"), task, skipped)
    if not opened:
        raise ValueError(f"task.source {_named(task)} has no document to learn from: its files are empty")
    return Concatenated(opened), skipped


def _call(name: str, module: str, function: str):
    try:
        records = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"task.source {name!r} cannot be imported ({error}): name a function as package.module:FUNCTION, and have "
            "the package installed or in PYTHONPATH"
        ) from error
    records = records() if callable(records) else records
    if not (hasattr(records, "__len__") and hasattr(records, "__getitem__")):
        raise ValueError(
            f"task.source {name!r} gave a {type(records).__name__}: make it return a list, or another sequence with a "
            "length and items by number"
        )
    return records


def _skip(error: BadRecord, task: TaskConfig, skipped: list[str]) -> None:
    if task.bad_records == "error":
        raise BadRecord(f"{error}; or set task.bad_records to skip") from error
    skipped.append(str(error))


def _named(task: TaskConfig) -> str:
    return task.source if isinstance(task.source, str) else ", ".join(task.source)
