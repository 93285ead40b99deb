# SPDX-License-Identifier: Apache-2.0
"""Runs of several processes: how they join, wait for process 0, and explain a failure."""

import atexit
import concurrent.futures
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from t5x_lite.parallel.multihost import ADDRESS, COUNT, INDEX, Result, integer

SHUTDOWN_SECONDS, CONNECT_SECONDS, LEAVE_SECONDS = 60, 300, 10
POLL_SECONDS = 0.2
LOST_PEER_WORDS = ("gloo", "nccl", "unavailable", "deadline", "aborted", "coordination")  # in JAX's error messages
# Prints its argument at end of file, which means a crash; a normal exit sends a byte first.
CRASH_REPORTER = "import sys; sys.stdin.buffer.read(1) or print(sys.argv[1], file=sys.stderr, flush=True)"


def checked(given: Mapping[str, str]) -> dict[str, str | int] | None:
    """Returns the arguments for the addresses in the environment, None for a single process; ValueError if wrong."""
    missing = [name for name in (ADDRESS, COUNT, INDEX) if name not in given]
    if missing:
        raise ValueError(
            f"{', '.join(given)} is set, but {', '.join(missing)} is not set: set {ADDRESS} (host:port of process 0), "
            f"{COUNT} and {INDEX} in every process, or none of them"
        )
    count, index = integer(given, COUNT), integer(given, INDEX)
    if not 0 <= index < count:
        raise ValueError(f"{INDEX} is {index} and {COUNT} is {count}: use numbers from 0 to {COUNT} - 1")
    if not given[ADDRESS].rpartition(":")[2].isdigit() or ":" not in given[ADDRESS]:
        raise ValueError(f"{ADDRESS} is {given[ADDRESS]!r}: use host:port, such as 10.0.0.1:1234")
    if count == 1:
        return None
    return {"coordinator_address": given[ADDRESS], "num_processes": count, "process_id": index}


def join(arguments: dict[str, str | int], *, heartbeat_seconds: int, saves_on_sigterm: bool) -> None:
    """Joins the other processes.

    Args:
      arguments: those of `jax.distributed.initialize`, from `multihost.settings`.
      heartbeat_seconds: time after which a silent process counts as lost.
      saves_on_sigterm: whether `preemption.StopSignal` handles SIGTERM, which otherwise terminates the process.

    Raises:
      ValueError: if the other processes are unreachable.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", saves_on_sigterm)  # installs a SIGTERM handler
    try:
        jax.distributed.initialize(
            **arguments,  # pyright: ignore[reportArgumentType] - `settings` returns the right types
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            initialization_timeout=CONNECT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:  # from JAX and XLA
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"cannot join the other processes: {lines[0]}. Check that all of them are running with the same {ADDRESS}, "
            "that it is reachable from here, and that every process has its own number"
        ) from error
    if jax.process_count() > 1:
        _crash_reporters.append(_start_crash_reporter(heartbeat_seconds))
        atexit.register(_stop_crash_reporters)


_crash_reporters: list[subprocess.Popen[bytes]] = []


def _start_crash_reporter(heartbeat: int) -> subprocess.Popen[bytes]:
    """Starts a process that prints one line if this one dies silently, as when JAX aborts it after losing a peer."""
    index, count = jax.process_index(), jax.process_count()
    message = (
        f"t5x-lite: process {index} of {count} exited: a peer died or sent no heartbeat for {heartbeat} seconds, or "
        "this process was killed or made no progress (then its stacks are printed above). See the output of the other "
        "processes, then restart all of them: the run resumes from its last checkpoint"
    )
    command = [sys.executable, "-c", CRASH_REPORTER, message]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _stop_crash_reporters() -> None:
    while _crash_reporters:
        _crash_reporters.pop().communicate(b".")


def wait_for_process_0(work: Callable[[], Result]) -> Result:
    """Does `process_0_first` in one of several processes.

    They poll, because waiting in one collective would time out after 30 seconds on CPUs.
    """
    failed = False
    if jax.process_index() == 0:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            while not broadcast(future.done()):
                time.sleep(POLL_SECONDS)
        failed = future.exception() is not None
        broadcast(failed)
        return future.result()
    while not broadcast(False):
        time.sleep(POLL_SECONDS)
    if broadcast(failed):
        raise ValueError("process 0 failed before this process could start: see its output")
    return work()


def broadcast(flag: bool) -> bool:
    """Returns the flag of process 0 in all processes, of which there may be only one."""
    return bool(np.asarray(multihost_utils.broadcast_one_to_all(np.int32(flag))))


def leave(status: int, *, together: bool = False) -> NoReturn:
    """Exits after an error has been printed, without the clean-up of a normal exit, which could wait for a minute.

    Args:
      status: the exit status.
      together: whether the other processes probably fail for the same reason, such as a mistake in the config. Then
        waits a few seconds for them, so that none of them is aborted because process 0 was the first to exit.
    """
    if together:
        others = threading.Thread(target=_disconnect, daemon=True)
        others.start()
        others.join(LEAVE_SECONDS)
    _stop_crash_reporters()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _disconnect() -> None:
    with contextlib.suppress(Exception):  # the error that matters has been printed
        jax.distributed.shutdown()  # returns once all processes have called it


def lost_peer(error: BaseException) -> str | None:
    """Returns the message for an error caused by a lost peer, or None for other errors."""
    if not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    if not any(word in str(error).lower() for word in LOST_PEER_WORDS):
        return None
    lines = str(error).strip().splitlines()
    return (
        f"process {jax.process_index()} of {jax.process_count()} lost a peer, which died or does not respond: see the "
        f"output of the other processes, then restart all of them: the run resumes from its last checkpoint "
        f"({lines[0][:200]})"
    )
