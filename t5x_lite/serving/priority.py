# SPDX-License-Identifier: Apache-2.0
"""Lowers the priority of XLA's threads that compile, so that a batch that runs on the same cores is hardly slowed.

A decoding step is many small operations, each split over the cores: one that waits for a core delays them all.
"""

import contextlib
import os
import pathlib
import sys
import threading

import jax

THREADS = pathlib.Path("/proc/self/task")
RUNS_MODELS = "tf_XLAEigen"  # the name of XLA's threads that compute
NICE = 10  # of -20 to 19, the lowest priority


def lower_compilers() -> None:
    """Lowers the priority of all threads but those of Python and those that compute; on Linux, for CPUs."""
    if sys.platform != "linux" or jax.default_backend() != "cpu":
        return
    ours = {thread.native_id for thread in threading.enumerate()}
    for task in THREADS.iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            if int(task.name) not in ours and not (task / "comm").read_text().startswith(RUNS_MODELS):
                os.setpriority(os.PRIO_PROCESS, int(task.name), NICE)
