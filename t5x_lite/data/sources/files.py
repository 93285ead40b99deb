# SPDX-License-Identifier: Apache-2.0
"""Finds the files of a source and opens them by suffix."""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from t5x_lite.config import TaskConfig
from t5x_lite.config.paths import home_expanded
from t5x_lite.data.sources.array_records import ArrayRecords
from t5x_lite.data.sources.base import Source
from t5x_lite.data.sources.file_content import file_key
from t5x_lite.data.sources.parquet import ParquetRows
from t5x_lite.data.sources.text_files import Delimited, JsonLines, OpenText, TextLines, TextParagraphs, WholeText

TEXT_SUFFIXES = (".txt", ".text", ".md")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
# In folders, .json files are skipped: they often describe the data instead of holding it.
JSON = ".json"
PLAIN_SUFFIXES = (*TEXT_SUFFIXES, *JSON_LINES_SUFFIXES, JSON, *DELIMITERS)  # may be compressed
ARRAY_RECORD_SUFFIXES = (".array_record", ".arrayrecord")
SUFFIXES = (*PLAIN_SUFFIXES, ".parquet", *ARRAY_RECORD_SUFFIXES)
COMPRESSIONS = (".gz", ".zst")
SHARD_NUMBER = re.compile(r"-\d+-of-\d+$")  # which some tools write after the suffix
TEXT_UNITS = {"file": WholeText, "line": TextLines, "paragraph": TextParagraphs}


def find_files(patterns: Sequence[str], field: str = "task.source", *, any_type: bool = False) -> list[pathlib.Path]:
    """Returns the files that match, in the order of the patterns and sorted within each.

    Skips hidden files, and .json files and files of unknown types in folders; does not follow links to folders.

    Args:
      patterns: paths, folders and glob patterns.
      field: the config field of the patterns, for errors.
      any_type: whether named files of unknown types are read as text instead of refused.

    Raises:
      ValueError: if a pattern matches nothing, or a file of an unknown type.
    """
    found: dict[pathlib.Path, None] = {}  # an ordered set
    for pattern in patterns:
        path = pathlib.Path(home_expanded(pattern, field))
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_data(file) and not _is_hidden(file, path))
        elif path.exists():
            files = [path]
        else:
            files = _matching(path, field)
        if not files:
            what = "matches no file"
            if path.is_dir():
                what = f"has no file that ends in {_known_suffixes()}, except {JSON}, which is skipped in folders"
            raise ValueError(
                f"{field} {pattern!r} {what}: name a file, a folder or a pattern such as 'data/*.jsonl', or "
                "docstrings for text that needs no file"
            )
        found |= dict.fromkeys(files)
    for file in found:
        if not file.is_file():
            other = ", or redirect it to standard input" if any_type else ""
            raise ValueError(f"{field} names {file}, a pipe or a device: write its contents to a file{other}")
        if not _is_known(file) and (not any_type or suffix(file) in SUFFIXES):
            raise ValueError(f"{field} names {file}, whose type is unknown: use {_known_suffixes()}")
    return list(found)


def open_file(
    path: pathlib.Path,
    task: TaskConfig,
    cache: pathlib.Path,
    open_text: OpenText | None = None,
    *,
    field: str = "task.source",
) -> Source:
    """Opens a file; decompressed copies and the record offsets of large files are stored in `cache`.

    `open_text` opens text files; None means the reader for `task.text_unit`. `field` is that of the file's name.
    """
    kind = suffix(path)
    if kind in ARRAY_RECORD_SUFFIXES:
        return ArrayRecords(path)
    if kind == ".parquet":
        return ParquetRows(path, cache / f"{file_key(path)}.arrow")
    content = path
    if _compression(path):
        content = cache / f"{file_key(path)}{kind}"
        if not content.is_file():
            from t5x_lite.data.sources.unpack import unpack

            has_option = field.startswith("task.")
            unpack(path, content, max_ratio=task.max_unpack_ratio, has_option=has_option)
    return open_plain(content, path, task, cache, open_text)


def open_plain(
    content: pathlib.Path, path: pathlib.Path, task: TaskConfig, cache: pathlib.Path, open_text: OpenText | None = None
) -> Source:
    """Opens the `content` of a text, JSON or delimited file, which may be compressed itself; otherwise `open_file`."""
    kind = suffix(path)
    if kind == JSON:
        from t5x_lite.data.sources.json_array import open_json

        return open_json(content, str(path), cache)
    if kind in JSON_LINES_SUFFIXES:
        return JsonLines(content, str(path), cache)
    if kind in DELIMITERS:
        return Delimited(content, str(path), cache, delimiter=DELIMITERS[kind], columns=task.columns)
    return (open_text or TEXT_UNITS[task.text_unit])(content, str(path), cache)


def suffix(path: pathlib.Path) -> str:
    """Returns the suffix of a file without its compression: `.jsonl` for `novels.jsonl.gz`."""
    name = path.stem if _compression(path) else path.name
    return pathlib.PurePath(SHARD_NUMBER.sub("", name)).suffix.lower()


def _compression(path: pathlib.Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""


def _is_known(path: pathlib.Path) -> bool:
    return path.is_file() and suffix(path) in (PLAIN_SUFFIXES if _compression(path) else SUFFIXES)


def _is_data(path: pathlib.Path) -> bool:
    return _is_known(path) and suffix(path) != JSON


def _is_hidden(path: pathlib.Path, folder: pathlib.Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _known_suffixes() -> str:
    return f"{', '.join(SUFFIXES)}, or one of the first {len(PLAIN_SUFFIXES)} with .gz or .zst"


def _matching(pattern: pathlib.Path, field: str) -> list[pathlib.Path]:
    """Returns the files that match a pattern, sorted; unlike `glob.glob`, it is safe with cyclic links."""
    parts = pattern.parts
    fixed = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    folder, rest = pathlib.Path(*parts[:fixed]), parts[fixed:]
    if not rest:
        return []
    try:
        files = sorted(file for file in folder.glob("/".join(rest)) if file.is_file())
    except ValueError as error:  # such as a** in Python 3.11
        raise ValueError(
            f"{field} {str(pattern)!r} is not a valid pattern ({error}): write ** between slashes"
        ) from error
    names_hidden = any(part.startswith(".") for part in rest)
    return [file for file in files if names_hidden or not _is_hidden(file, folder)]


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[Any]:
    """Opens a file, which is decompressed if its name says so; raises ValueError if that fails."""
    with path.open("rb") as file:
        if not _compression(path):
            yield file
            return
        from t5x_lite.data.sources.unpack import decompressed

        with decompressed(file, path) as content:
            yield content
