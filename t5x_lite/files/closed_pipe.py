# SPDX-License-Identifier: Apache-2.0
"""Ends a command quietly if nobody reads its output any more, as in `t5x-lite models | head -1`.

Python ignores SIGPIPE, which ends other programs, so that a write to a closed pipe raises BrokenPipeError. Resetting
the signal would also end a process whose network connection is closed.
"""

import contextlib
import os
import pathlib
import select
import sys
from collections.abc import Iterator
from typing import TextIO


class OutputClosed(BrokenPipeError):
    """The reader of a pipe that an option names has gone."""


def is_closed_output(error: BaseException) -> bool:
    """Returns whether an error is due to a closed output; if so, discards what standard output and error still hold."""
    of_rich = isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)  # raised in place of it
    if not isinstance(error, BrokenPipeError) and not of_rich:
        return False
    closed = [stream for stream in filter(None, (sys.stdout, sys.stderr)) if _is_closed(stream)]
    for stream in closed:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
    return bool(closed) or of_rich or isinstance(error, OutputClosed)


@contextlib.contextmanager
def opened_output(path: str) -> Iterator[TextIO]:
    """Opens an output file, pipe or device as UTF-8; - is standard output. A file appears once the block succeeds.

    Raises:
      OutputClosed: if a pipe is closed.
    """
    if path == "-":
        yield sys.stdout
        return
    from t5x_lite.files.atomic_write import is_stream, written_atomically

    if not is_stream(path):
        with written_atomically(pathlib.Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file
        return
    try:
        with open(path, "a", encoding="utf-8") as file:  # it may lead to a file that is appended to
            yield file
    except BrokenPipeError as error:
        raise OutputClosed(*error.args) from error


def _is_closed(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
        stream.flush()
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # not a real file, as in tests
        return False
    if not hasattr(select, "poll"):  # as on Windows
        return False
    poll = select.poll()  # an unbuffered stream has nothing left to flush
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
