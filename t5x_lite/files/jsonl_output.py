# SPDX-License-Identifier: Apache-2.0
"""Files of lines that are written over a long time, by a process that may be killed: none is lost or written twice.

What has been written is in `FILE.partial` until all is there. Its first line says what it is of, so that nothing else
goes on with it.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

STDIO = "-"


class LineFile(NamedTuple):
    """Where lines go."""

    write: Callable[[str], None]  # a line, without its end
    num_written: int  # lines that are there already


@contextlib.contextmanager
def resumable_lines(path: str, identity: Mapping[str, Any] | None, *, name: str) -> Iterator[LineFile]:
    """Opens a file for lines; it gets its name when the block ends without an error, and replaces what was there.

    Args:
      path: of the file; - is standard output, which keeps nothing, nor does a device or a pipe.
      identity: what the lines depend on, as JSON has it; None goes on with nothing, and begins anew.
      name: of the option, for errors.

    Raises:
      ValueError: if there is no such directory, or lines of something else are there.
    """
    if path == STDIO:
        yield LineFile(lambda line: print(line, flush=True), 0)
        return
    check_place(path, name)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "w", encoding="utf-8") as file:
            yield LineFile(lambda line: write_line(file, line), 0)
        return
    partial = pathlib.Path(f"{path}.partial")
    if identity is None:
        partial.unlink(missing_ok=True)
    num_written = written_before(partial, identity or {}, name)
    with open(partial, "a", encoding="utf-8") as file:
        yield LineFile(lambda line: write_line(file, line), num_written)
    _drop_first_line(partial, pathlib.Path(path))


def check_place(path: str, name: str) -> None:
    """Raises ValueError unless a file can be there."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(f"{name} {path} is in a directory that does not exist: make it, or name another file")
    if os.path.isdir(path):
        raise ValueError(f"{name} {path} is a directory: name a file")


def written_before(partial: pathlib.Path, identity: Mapping[str, Any], name: str) -> int:
    """Returns how many whole lines there are; cuts off what is behind them, and begins a file that is not there."""
    content = partial.read_bytes() if partial.exists() else b""
    first, end, _ = content.partition(b"\n")
    if not end:
        partial.write_text(json.dumps(identity) + "\n", encoding="utf-8")
        return 0
    try:
        found = json.loads(first)
    except (json.JSONDecodeError, UnicodeDecodeError):
        found = None
    wanted = json.loads(json.dumps(identity))
    if found != wanted:
        found = found if isinstance(found, dict) else {}
        keys = [key for key in wanted | found if found.get(key) != wanted.get(key)] if found else []
        other = [f"{key} {found.get(key)!r} and not {wanted.get(key)!r}" for key in keys]
        raise ValueError(
            f"{partial} has the beginning of something else ({'; '.join(other) or 'not known'}): repeat the command it "
            f"is of, delete it, or name another {name}"
        )
    os.truncate(partial, content.rfind(b"\n") + 1)
    return content.count(b"\n") - 1


def write_line(file: Any, line: str) -> None:
    """Writes a line, so that a kill cannot lose it."""
    file.write(line + "\n")
    file.flush()


def _drop_first_line(partial: pathlib.Path, path: pathlib.Path) -> None:
    whole = partial.with_name(partial.name + ".whole")
    with open(partial, "rb") as source, open(whole, "wb") as destination:
        source.readline()
        while block := source.read(2**20):
            destination.write(block)
    os.replace(whole, path)
    partial.unlink()
