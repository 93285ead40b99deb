# SPDX-License-Identifier: Apache-2.0
"""Output files written line by line, and resumed after a kill without losing or repeating a line.

Lines go to `FILE.partial`, which becomes FILE when complete. Its first line identifies the job, so that no other job
resumes it. Several processes write blocks of lines in turn: each has its own `FILE.partial-00001-of-00004`, renamed to
`FILE.whole-00001-of-00004` when complete, and the first process merges them. They communicate only through files.
"""

import contextlib
import glob
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from t5x_lite.files.atomic_write import is_stream, written_atomically
from t5x_lite.files.closed_pipe import opened_output
from t5x_lite.files.full_disk import full_disk_named

STDIO = "-"
STATE_OF_INPUT = {"bytes of it", "time of it"}  # keys of an identity that follow the name of the input
POLL_SECONDS = 0.2
PARTS = "partial", "whole"
Item = TypeVar("Item")


class Share(NamedTuple):
    """The lines that one of several processes writes."""

    index: int  # of this process
    count: int  # of processes
    block: int  # consecutive lines per process

    def of(self, numbered: Iterable[tuple[int, Item]]) -> Iterator[tuple[int, Item]]:
        """Yields this process's items."""
        return ((number, item) for number, item in numbered if number // self.block % self.count == self.index)


ALONE = Share(index=0, count=1, block=1)


class LineFile(NamedTuple):
    """An open output file."""

    write: Callable[[str], None]  # appends a line and flushes it
    num_written: int  # lines written by earlier attempts


@contextlib.contextmanager
def resumable_lines(
    path: str, identity: Mapping[str, Any] | None, share: Share = ALONE, *, name: str
) -> Iterator[LineFile]:
    """Opens an output file, which appears at `path` once all processes leave the block without an error.

    The caller holds the lock of the output; see `one_writer`.

    Args:
      path: the file; standard output (-), devices and pipes cannot be resumed.
      identity: everything the lines depend on, as JSON; None disables resuming.
      share: this process's share of the lines.
      name: the option that names the file, for error messages.
    """
    if share.count > 1 and (path == STDIO or identity is None):
        stream = f"{name} is {STDIO}" if path == STDIO else "the input is -"
        raise ValueError(f"{stream}, which {share.count} processes cannot share: name a file that all can access")
    if path == STDIO:
        yield LineFile(lambda line: print(line, flush=True), 0)
        return
    if is_stream(path):
        with opened_output(path) as file:
            yield LineFile(_line_writer(file), 0)
        return
    partials, wholes = ([_part(path, kind, index, share.count) for index in range(share.count)] for kind in PARTS)
    partial, whole = partials[share.index], wholes[share.index]
    if identity is None:
        partial.unlink(missing_ok=True)
    identity = {**(identity or {}), **({"lines in turn": share.block} if share.count > 1 else {})}
    if share.count > 1 and whole.exists():
        os.replace(whole, partial)
    with full_disk_named(partial):
        num_written = _resume(partial, identity, name)
        with open(partial, "a", encoding="utf-8") as file:
            yield LineFile(_line_writer(file), num_written)
    if share.count == 1:
        _merge(partials, pathlib.Path(path), share.block)
        return
    os.replace(partial, whole)
    if share.index == 0:
        _wait_until(lambda: all(_has_identity(whole, identity) for whole in wholes))
        _merge(wholes, pathlib.Path(path), share.block)
    _wait_until(lambda: not whole.exists())  # the whole job would end if this process exited


def paths_on_the_way(path: str) -> list[pathlib.Path]:
    """Returns an output file and the existing files that are written before it."""
    file = pathlib.Path(path)
    unfinished = (f"{file.name}.{kind}" for kind in PARTS)
    patterns = (f"{glob.escape(name)}{suffix}" for name in unfinished for suffix in ("", "-*-of-*"))
    return [file, *(found for pattern in patterns for found in file.parent.glob(pattern))]


def _part(path: str, kind: str, index: int, count: int) -> pathlib.Path:
    return pathlib.Path(f"{path}.{kind}{part_suffix(index, count)}")


def part_suffix(index: int, count: int) -> str:
    """Returns the end of the name of the part that one of several processes writes; "" for a process alone."""
    return f"-{index:05d}-of-{count:05d}" if count > 1 else ""


def check_path(path: str, name: str) -> None:
    """Raises ValueError if the path of an output file is a directory, or is in none that exists."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(f"{name} {path} is in a directory that does not exist: create it, or name another file")
    if os.path.isdir(path):
        raise ValueError(f"{name} {path} is a directory: name a file")


def tell_replaced(path: str, name: str) -> None:
    """Prints a line if an output file exists, which will be replaced."""
    if path != STDIO and os.path.isfile(path) and not is_stream(path):
        print(f"{name} {path} exists: it is replaced once the new one is complete", file=sys.stderr)


def _resume(partial: pathlib.Path, identity: Mapping[str, Any], name: str) -> int:
    """Returns the number of complete lines; truncates an incomplete one, and creates a missing file."""
    content = partial.read_bytes() if partial.exists() else b""
    first, end, _ = content.partition(b"\n")
    if not end:
        partial.write_text(json.dumps(identity) + "\n", encoding="utf-8")
        return 0
    try:
        theirs = json.loads(first)
    except (json.JSONDecodeError, UnicodeDecodeError):
        theirs = None
    ours = json.loads(json.dumps(identity))
    if theirs != ours:
        theirs = theirs if isinstance(theirs, dict) else {}
        keys = [key for key in ours | theirs if theirs.get(key) != ours.get(key)] if theirs else []
        if keys and STATE_OF_INPUT.issuperset(keys):
            raise ValueError(f"{partial} was started before the input changed: delete the file, or name another {name}")
        differences = [
            f"{key} {theirs.get(key)!r} instead of {ours.get(key)!r}" for key in keys if key not in STATE_OF_INPUT
        ]
        raise ValueError(
            f"{partial} was started by another command ({'; '.join(differences) or 'unknown'}): repeat that command, "
            f"delete the file, or name another {name}"
        )
    os.truncate(partial, content.rfind(b"\n") + 1)
    return content.count(b"\n") - 1


def _line_writer(file: Any) -> Callable[[str], None]:
    def write(line: str) -> None:
        file.write(line + "\n")
        file.flush()  # so that a kill cannot lose it

    return write


def _has_identity(whole: pathlib.Path, identity: Mapping[str, Any]) -> bool:
    if not whole.exists():
        return False
    with open(whole, encoding="utf-8") as file:
        return file.readline() == json.dumps(identity) + "\n"


def _wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(POLL_SECONDS)


def _merge(parts: Sequence[pathlib.Path], path: pathlib.Path, block: int) -> None:
    """Interleaves the parts' blocks of lines, without their first lines."""
    with written_atomically(path) as merged, contextlib.ExitStack() as stack:
        sources = [stack.enter_context(open(part, "rb")) for part in parts]
        destination = stack.enter_context(open(merged, "wb"))
        for source in sources:
            source.readline()
        lines = [b"..."]
        while any(lines):
            lines = [source.readline() for source in sources for _ in range(block)]
            destination.writelines(lines)
    for part in parts:
        part.unlink()
