# SPDX-License-Identifier: Apache-2.0
"""Sources of records; `open_source` opens the one that `task.source` names.

The reader of each kind of source is only imported when such a source is opened.
"""

import pathlib
from typing import TYPE_CHECKING, NamedTuple

from t5x_lite.config import DOCSTRINGS, TaskConfig
from t5x_lite.data.sources.base import BadRecord, InMemory, Source

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
    from t5x_lite.data.sources.opening import open_names

    return open_names(task, names, cache, field=field, open_text=open_text)


def skip(error: BadRecord, task: TaskConfig, skipped: list[str]) -> None:
    """Appends the error to `skipped` if `task.bad_records` is skip, and raises it otherwise."""
    if task.bad_records == "error":
        raise BadRecord(f"{error}{OR_SKIP}") from error
    skipped.append(str(error))


def named(names: Names) -> str:
    """Returns the names of a source as a comma-separated string."""
    return names if isinstance(names, str) else ", ".join(names)
