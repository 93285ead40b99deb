# SPDX-License-Identifier: Apache-2.0
"""The boundary of files that may come from anybody: whatever fails inside it becomes one line that names the file."""

import contextlib
import os
from collections.abc import Iterator

from t5x_lite.files.messages import first_line

PANIC = "PanicException"  # of libraries in Rust; a BaseException
UNFIT = "it holds something else than it should"
REASONS = {  # words for errors whose own are for programmers
    MemoryError: "it needs more memory than there is",
    RecursionError: "it is nested too deeply",
    OverflowError: "it holds a number that is too large",
    **dict.fromkeys((TypeError, AttributeError, LookupError, AssertionError), UNFIT),
}


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], remedy: str = "download it again") -> Iterator[None]:
    """Turns errors of the block, which reads a file or a directory of files, into ValueError with its path.

    Errors that name the path, or that are of the operating system, are passed on.
    """
    try:
        yield
    except (OSError, KeyboardInterrupt, SystemExit, GeneratorExit) as error:
        if isinstance(error, OSError) and error.filename is None and str(path) not in str(error):
            raise ValueError(f"{path} cannot be read ({first_line(error)}): {remedy}") from error
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        reason = next((words for kind, words in REASONS.items() if isinstance(error, kind)), first_line(error, 200))
        raise ValueError(f"{path} is damaged ({reason}): {remedy}") from error
