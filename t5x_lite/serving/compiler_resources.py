# SPDX-License-Identifier: Apache-2.0
"""Limits what compilation takes from batches that run beside it, on Linux: processor time and memory.

A decoding step is many small operations, each split over the cores, and one part that waits for a core delays them
all. Memory that XLA's compiler frees stays with the process: glibc keeps it, scattered over the arenas of its threads.
"""

import contextlib
import ctypes
import os
import pathlib
import sys
import threading

import jax

THREADS = pathlib.Path("/proc/self/task")
RUNS_MODELS = "tf_XLAEigen"  # the name of XLA's threads that compute
NICE = 10  # the lowest priority is 19, the usual one 0


def lower_priority() -> None:
    """Lowers the priority of the threads that compile: all but Python's and those that compute; if on CPUs."""
    if sys.platform != "linux" or jax.default_backend() != "cpu":
        return
    ours = {thread.native_id for thread in threading.enumerate()}
    for task in THREADS.iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            if int(task.name) not in ours and not (task / "comm").read_text().startswith(RUNS_MODELS):
                os.setpriority(os.PRIO_PROCESS, int(task.name), NICE)


def return_memory() -> None:
    """Returns freed memory to the operating system; does nothing where the C library is not glibc."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
