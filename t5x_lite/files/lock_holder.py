# SPDX-License-Identifier: Apache-2.0
"""Names the process that holds a lock, for the one that is refused."""

import contextlib
import pathlib
import time

SECONDS_TO_WRITE, POLL_SECONDS = 0.5, 0.01


def holder(lock: pathlib.Path) -> str:
    """Returns "process 7 on HOST", as the holder of a lock file wrote it."""
    for _ in range(int(SECONDS_TO_WRITE / POLL_SECONDS)):  # it may hold the lock and not have written its name yet
        with contextlib.suppress(FileNotFoundError):
            if name := lock.read_text(errors="replace").strip():
                return name
        time.sleep(POLL_SECONDS)
    return "another process"
