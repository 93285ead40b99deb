# SPDX-License-Identifier: Apache-2.0
"""From a path, a folder or a pattern to the records of all the files it names."""

import glob
import gzip
import hashlib
import pathlib
import zlib
from collections.abc import Iterator, Sequence

import pyarrow

from t5x_lite.atomic import written_atomically
from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.lines import Delimited, JsonLines, TextLines, TextParagraphs, WholeText
from t5x_lite.data.sources.parquet import ParquetRows
from t5x_lite.data.sources.records import Source

BLOCK_BYTES = 2**20
TEXT_SUFFIXES = (".txt", ".text", ".md")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*TEXT_SUFFIXES, ".jsonl", *DELIMITERS, ".parquet")
COMPRESSIONS = (".gz", ".zst")
TEXT_UNITS = {"file": WholeText, "line": TextLines, "paragraph": TextParagraphs}


def find_files(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Returns the files that paths, folders and patterns name: in that order, those of one pattern sorted.

    Hidden files are left out, and within a folder those of a kind that is not known.

    Raises:
      ValueError: if one of them names nothing, or a file of a kind that is not known.
    """
    found: dict[pathlib.Path, None] = {}
    for pattern in patterns:
        path = pathlib.Path(pattern).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_known(file) and not _is_hidden(file, path))
        elif path.exists():
            files = [path]
        else:
            files = [pathlib.Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            files = [file for file in files if file.is_file()]
        if not files:
            what = f"has no file that ends in {_known_suffixes()}" if path.is_dir() else "names no file"
            raise ValueError(
                f"task.source {pattern!r} {what}: name a file, a folder or a pattern such as 'data/*.jsonl', or "
                "docstrings for the text that every installation has"
            )
        found |= dict.fromkeys(files)
    for file in found:
        if not _is_known(file):
            raise ValueError(f"task.source names {file}, whose kind is not known: use {_known_suffixes()}")
    return list(found)


def open_file(path: pathlib.Path, task: TaskConfig, cache: pathlib.Path) -> Source:
    """Returns the records of one file.

    Args:
      path: of a kind that `find_files` knows.
      task: says how text and tables are read.
      cache: directory for uncompressed copies.

    Raises:
      ValueError: if the file is damaged as a whole.
    """
    if suffix(path) == ".parquet":
        return ParquetRows(path, cache / f"{_key(path)}.arrow")
    plain = path
    if path.suffix in COMPRESSIONS:
        plain = cache / f"{_key(path)}{suffix(path)}"
        if not plain.is_file():
            _uncompress(path, plain)
    match suffix(path):
        case ".jsonl":
            return JsonLines(plain, str(path))
        case ".csv" | ".tsv" as kind:
            return Delimited(plain, str(path), delimiter=DELIMITERS[kind], columns=task.columns)
        case _:
            return TEXT_UNITS[task.text_unit](plain, str(path))


def suffix(path: pathlib.Path) -> str:
    """Returns what a file's name ends in, compression left out: `.jsonl` of `novels.jsonl.gz`."""
    return pathlib.Path(path.stem).suffix.lower() if path.suffix in COMPRESSIONS else path.suffix.lower()


def _is_known(path: pathlib.Path) -> bool:
    compressed = path.suffix in COMPRESSIONS
    return path.is_file() and suffix(path) in SUFFIXES and not (compressed and suffix(path) == ".parquet")


def _is_hidden(path: pathlib.Path, folder: pathlib.Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _known_suffixes() -> str:
    return f"{', '.join(SUFFIXES)}, or one of the first {len(SUFFIXES) - 1} with .gz or .zst"


def _key(path: pathlib.Path) -> str:
    """Names the copy of a file; another name once the file has changed."""
    state = path.stat()
    digest = hashlib.blake2b(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}".encode(), digest_size=6)
    return f"{path.name.split('.')[0]}-{digest.hexdigest()}"


def _uncompress(path: pathlib.Path, plain: pathlib.Path) -> None:
    try:
        with written_atomically(plain) as temporary, temporary.open("wb") as out:
            for block in _blocks(path):
                out.write(block)
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's trouble; what decompresses sets no number
            raise
        raise ValueError(f"{path} is not a whole {path.suffix} file ({error}): fetch or write it again") from error


def _blocks(path: pathlib.Path) -> Iterator[bytes]:
    def zstd(path: pathlib.Path) -> pyarrow.NativeFile:
        return pyarrow.input_stream(str(path), compression="zstd")

    with (gzip.open if path.suffix == ".gz" else zstd)(path) as file:
        while block := file.read(BLOCK_BYTES):
            yield block
