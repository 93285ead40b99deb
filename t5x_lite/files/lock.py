# SPDX-License-Identifier: Apache-2.0
"""Locks that end with the process that holds them, so that a killed one is not in the way of the next."""

import contextlib
import fcntl
import os
import pathlib
import socket
import time
from typing import IO

LOCK = ".lock"  # in a directory that one process at a time fills

GLANCE_SECONDS = 0.05  # within which `t5x-lite runs`, which holds a lock to see whether another does, lets it go


def locked(path: pathlib.Path, what: str, remedy: str) -> IO[bytes]:
    """Returns an open file, whose lock is held until it is closed or the process ends.

    Raises:
      ValueError: if another process holds it: "WHAT is in use by process 7 on HOST: wait for it to finish, or REMEDY".
    """
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("ab+", buffering=0))
            try:
                _take(file)
            except BlockingIOError:
                from t5x_lite.files.lock_holder import holder

                raise ValueError(f"{what} is in use by {holder(path)}: wait for it to finish, or {remedy}") from None
            with contextlib.suppress(FileNotFoundError):  # if its holder removed it after it was opened here
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    with contextlib.suppress(OSError):  # on a full disk it holds without a name
                        file.truncate(0)
                        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
                    stack.pop_all()
                    return file


def _take(file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(GLANCE_SECONDS)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
