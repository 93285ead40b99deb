# SPDX-License-Identifier: Apache-2.0
"""Says what is wrong with a file that cannot be read; imported only then."""

import pathlib

from t5x_lite.files.git_lfs import check_downloaded
from t5x_lite.files.messages import first_line

PANIC = "PanicException"  # of libraries in Rust; a BaseException
UNFIT = "it holds something else than it should"
REASONS = {  # words for errors whose own are for programmers
    MemoryError: "it needs more memory than there is",
    RecursionError: "it is nested too deeply",
    OverflowError: "it holds a number that is too large",
    **dict.fromkeys((TypeError, AttributeError, LookupError, AssertionError), UNFIT),
}


def explained(error: BaseException, path: str, remedy: str) -> BaseException:
    """Returns a ValueError with the path of a file that could not be read; signals, and errors that name it, as is."""
    if isinstance(error, OSError):
        if error.filename is not None or path in str(error):
            return error
        return ValueError(f"{path} cannot be read ({first_line(error)}): {remedy}")
    if not isinstance(error, Exception) and type(error).__name__ != PANIC:
        return error
    if isinstance(error, ValueError) and path in str(error):
        return error
    reason = next((words for kind, words in REASONS.items() if isinstance(error, kind)), first_line(error, 200))
    return ValueError(f"{path} is damaged ({reason}): {remedy}")


def check_content(path: pathlib.Path, max_bytes: int) -> bytes:
    """Returns the content of a file; raises ValueError if it is larger than it can be, or a pointer of Git LFS."""
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{path} has {size:,} bytes, more than any such file, {max_bytes:,}: download it again")
    if not path.is_file():  # a device may have no end
        raise ValueError(f"{path} is not a file: download it again")
    check_downloaded(path)
    return path.read_bytes()
