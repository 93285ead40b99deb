# SPDX-License-Identifier: Apache-2.0
"""One file of lines that several processes write together: blocks of consecutive lines in turn, merged at the end.

They see one file system, and nothing else of each other. Each has what it wrote in `FILE.partial-00001-of-00004`, goes
on with it after a kill, and names it `FILE.whole-00001-of-00004` when it is done. The first process puts them together.
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from t5x_lite.files.jsonl_output import STDIO, LineFile, check_place, resumable_lines, write_line, written_before

SECONDS_BETWEEN_LOOKS = 0.2
Item = TypeVar("Item")


class Share(NamedTuple):
    """What one of several processes does of numbered lines."""

    index: int  # of the process, from 0
    count: int  # of processes
    block: int  # consecutive lines of one process

    def of(self, numbered: Iterable[tuple[int, Item]]) -> Iterator[tuple[int, Item]]:
        """Yields those of this process."""
        return ((number, item) for number, item in numbered if number // self.block % self.count == self.index)


@contextlib.contextmanager
def shared_lines(path: str, identity: Mapping[str, Any] | None, share: Share, *, name: str) -> Iterator[LineFile]:
    """Opens a file for the lines of one process; it gets its name when the blocks of all have ended without an error.

    Args:
      path: of the file; - and what keeps nothing are for a single process.
      identity: what the lines depend on, as JSON has it.
      share: of the process.
      name: of the option, for errors.

    Raises:
      ValueError: if there is no such directory, or lines of something else are there.
    """
    if share.count == 1:
        with resumable_lines(path, identity, name=name) as output:
            yield output
        return
    if path == STDIO or identity is None:
        what = f"{name} is {STDIO}" if path == STDIO else "the input is -"
        raise ValueError(f"{what}, which {share.count} processes cannot share: name a file that all of them see")
    check_place(path, name)
    identity = {**identity, "lines in turn": share.block}
    wholes = [_part(path, "whole", index, share.count) for index in range(share.count)]
    partial, whole = _part(path, "partial", share.index, share.count), wholes[share.index]
    if whole.exists():
        os.replace(whole, partial)
    num_written = written_before(partial, identity, name)
    with open(partial, "a", encoding="utf-8") as file:
        yield LineFile(lambda line: write_line(file, line), num_written)
    os.replace(partial, whole)
    if share.index == 0:
        _wait_until(lambda: all(_is_of(whole, identity) for whole in wholes))
        _merge(wholes, pathlib.Path(path), share.block)
    # A process that left would be missed by the others.
    _wait_until(lambda: not whole.exists())


def _part(path: str, kind: str, index: int, count: int) -> pathlib.Path:
    return pathlib.Path(f"{path}.{kind}-{index:05d}-of-{count:05d}")


def _is_of(whole: pathlib.Path, identity: Mapping[str, Any]) -> bool:
    if not whole.exists():
        return False
    with open(whole, encoding="utf-8") as file:
        return file.readline() == json.dumps(identity) + "\n"


def _wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _merge(parts: list[pathlib.Path], path: pathlib.Path, block: int) -> None:
    merged = pathlib.Path(f"{path}.merged")
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(open(part, "rb")) for part in parts]
        destination = stack.enter_context(open(merged, "wb"))
        for source in sources:
            source.readline()
        wrote = True
        while wrote:
            wrote = False
            for source in sources:
                for line in (source.readline() for _ in range(block)):
                    destination.write(line)
                    wrote = wrote or bool(line)
    os.replace(merged, path)
    for part in parts:
        part.unlink()
