# SPDX-License-Identifier: Apache-2.0
"""The rows of a run's `metrics.jsonl`."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.checksum import crc, tell_changed
from t5x_lite.files.full_disk import full_disk_named

METRICS = "metrics.jsonl"
LOSSES = "loss", "eval/loss"


def losses_of(step: int, scalars: Mapping[str, Any]) -> dict[tuple[int, str], float]:
    """Returns the losses in a row, by step and name."""
    return {(step, name): float(scalars[name]) for name in LOSSES if name in scalars}


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of a metrics file without a last line truncated by a kill; ValueError if another is damaged."""
    rows, lines = [], path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                row = json.loads(line)
                losses_of(row["step"] + 0, row)  # raises an error if they are no numbers
                rows.append(row)
        except (ValueError, KeyError, TypeError):
            if number < len(lines):
                raise ValueError(f"{path}, line {number}, is damaged: restore or delete that line") from None
    return rows


def keep_rows(path: pathlib.Path, step: int) -> None:
    """Drops the rows of a metrics file after a step; tells if others were missing or changed."""
    check_rows(path)
    content = "".join(json.dumps(row) + "\n" for row in read_rows(path) if row["step"] <= step).encode()
    # First, because what is kept is how the file begins before and after.
    _write_checksum(path, len(content), crc(content))
    write_atomically(path, content)


class RowWriter:
    """Appends rows to a metrics file, and keeps the checksum of all that is written beside it.

    The checksum comes second: after a kill in between it is that of the beginning of the file, as `check_rows` expects.
    """

    def __init__(self, path: pathlib.Path):
        content = path.read_bytes()
        self._path, self._size, self._crc = path, len(content), crc(content)
        self._file = path.open("ab")

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row."""
        line = json.dumps(row).encode() + b"\n"
        with full_disk_named(self._path):
            self._file.write(line)
            self._file.flush()
        self._size, self._crc = self._size + len(line), crc(line, int(self._crc, 16))
        _write_checksum(self._path, self._size, self._crc)

    def close(self) -> None:
        """Closes the file."""
        with full_disk_named(self._path):  # tries once more what could not be written
            self._file.close()


def check_rows(path: pathlib.Path) -> None:
    """Prints a line if rows of a metrics file are missing or changed; those of earlier versions have no checksum."""
    written = checksum_file(path)
    if not written.is_file():
        return
    with written.open("rb") as file:  # before the rows, to which a run may add others
        size, _, recorded = file.read(64).decode(errors="replace").strip().partition(" ")
    content = path.read_bytes() if path.is_file() else b""
    if not size.isdecimal() or len(content) < int(size) or crc(content[: int(size)]) != recorded:
        tell_changed(path, "lacks rows, or was changed after the run wrote it (edited, or damaged)")


def checksum_file(path: pathlib.Path) -> pathlib.Path:
    """Returns the file with the length and the checksum of a metrics file."""
    return path.with_name(f".{path.name}.checksum")


def _write_checksum(path: pathlib.Path, size: int, checksum: str) -> None:
    write_atomically(checksum_file(path), f"{size} {checksum}\n")
