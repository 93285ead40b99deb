# SPDX-License-Identifier: Apache-2.0
"""Sources of records; `open_source` opens the one that `task.source` names.

The reader of each kind of source is only imported when such a source is opened.
"""

import pathlib
from typing import TYPE_CHECKING, NamedTuple

from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.sources.base import HUGGING_FACE, TFDS, BadRecord, Concatenated, InMemory, Source

if TYPE_CHECKING:
    from t5x_lite.data.sources.text_files import OpenText

Names = str | tuple[str, ...]
OR_SKIP = "; or set task.bad_records to skip"  # ends the errors of bad records


class Opened(NamedTuple):
    """A source, and the errors of the files that were skipped."""

    records: Source
    skipped: list[str]


def open_source(
    task: TaskConfig,
    names: Names,
    cache: pathlib.Path,
    *,
    field: str = "task.source",
    open_text: "OpenText | None" = None,
) -> Opened:
    """Opens a task's source.

    Args:
      names: `task.source` or `task.eval_source`.
      cache: the directory for decompressed copies and for the record offsets of large files.
      field: the config field of `names`, for errors.
      open_text: opens text files, including files of unknown types; None refuses these and follows
        `task.text_unit`.

    Raises:
      ValueError: if the source is missing, empty or unreadable.
      BadRecord: if one of its files is empty, unless `task.bad_records` is skip.
    """
    if names == DOCSTRINGS:
        from t5x_lite.data.sources.docstrings import read_docstrings

        return Opened(InMemory(read_docstrings(task.packages, task.min_characters), DOCSTRINGS), [])
    opened, skipped, files = [], [], []
    for name in (names,) if isinstance(names, str) else names:
        if (source := _open_named(name, field)) is not None:
            opened.append(source)
        else:
            files.append(name)
    if files:
        from t5x_lite.data.sources.files import find_files, open_file

        for path in find_files(files, field, any_type=open_text is not None):
            source = open_file(path, task, cache, open_text)
            if len(source):
                opened.append(source)
            else:
                skip(BadRecord(f"{path} is empty: fill or remove it"), task, skipped)
    if not sum(map(len, opened)):
        what = "its files are empty" if files else "it is empty"
        raise ValueError(f"{field} {named(names)} has no records: {what}")
    return Opened(Concatenated(opened), skipped)


def _open_named(name: str, field: str) -> Source | None:
    """Opens a dataset or a Python object; returns None if the name refers to files."""
    if name.startswith(TFDS):
        from t5x_lite.data.sources.tfds import open_named

        return open_named(name, field)
    if name.startswith(HUGGING_FACE):
        from t5x_lite.data.sources.huggingface import open_dataset

        return open_dataset(name, field)
    from t5x_lite.data.sources.python import is_object, open_object

    return open_object(name, field) if is_object(name) else None


def skip(error: BadRecord, task: TaskConfig, skipped: list[str]) -> None:
    """Appends the error to `skipped` if `task.bad_records` is skip, and raises it otherwise."""
    if task.bad_records == "error":
        raise BadRecord(f"{error}{OR_SKIP}") from error
    skipped.append(str(error))


def named(names: Names) -> str:
    """Returns the names of a source as a comma-separated string."""
    return names if isinstance(names, str) else ", ".join(names)
