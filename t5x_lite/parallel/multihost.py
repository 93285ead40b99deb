# SPDX-License-Identifier: Apache-2.0
"""Several processes as one: who they are, what one does before the others, when all of them stop.

`start` has to come before anything else of JAX. On TPU pods, GKE, SLURM and Open MPI JAX finds the others by itself;
anywhere else three variables of the environment say who there is (ADDRESS, COUNT, INDEX below).
"""

import atexit
import concurrent.futures
import faulthandler
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import NoReturn, Self, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Result = TypeVar("Result")

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
# A process that is gone or stopped ends the others after so long, if no collective tells them before; JAX's own is 100.
HEARTBEAT, HEARTBEAT_SECONDS = "T5X_LITE_HEARTBEAT_SECONDS", 30
# One that runs and comes no further, in a file system that does not answer say, ends itself after so long.
HANG, HANG_SECONDS = "T5X_LITE_HANG_SECONDS", 1800
SHUTDOWN_SECONDS, CONNECT_SECONDS = 60, 300
POLL_SECONDS = 0.2
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI_4 = "OMPI_MCA_orte_hnp_uri"  # how Open MPI 4 says where process 0 is; 5 does not
OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")
LOST_WORDS = ("gloo", "nccl", "unavailable", "deadline", "aborted", "coordination")  # of errors of JAX
# Waits for a byte that says that all is well; else, once the process is gone, prints what it is given.
HERALD = "import sys; sys.stdin.buffer.read(1) or print(sys.argv[1], file=sys.stderr, flush=True)"


def settings(environment: Mapping[str, str]) -> dict[str, str | int] | None:
    """Returns what `jax.distributed.initialize` is told: nothing where it finds out itself; None for a single process.

    Args:
      environment: of this process.

    Raises:
      ValueError: if it says something impossible, or only a part.
    """
    told = {name: environment[name] for name in (ADDRESS, COUNT, INDEX) if environment.get(name)}
    if COUNT not in told and all(name in environment for name in OPEN_MPI) and OPEN_MPI_4 not in environment:
        told |= dict(zip((COUNT, INDEX), (environment[name] for name in OPEN_MPI), strict=True))
        if told[COUNT] == "1" and ADDRESS not in told:
            return None
    if COUNT in told or INDEX in told:
        return _checked(told)
    if all(name in environment for name in SLURM):
        return {} if _number(environment, "SLURM_NTASKS") > 1 else None
    if OPEN_MPI_4 in environment:
        return {} if _number(environment, OPEN_MPI[0]) > 1 else None
    if "TPU_SKIP_MDS_QUERY" in environment or environment.get("JAX_PLATFORMS") == "cpu":
        return None
    several = "," in environment.get("TPU_WORKER_HOSTNAMES", "") or "MEGASCALE_COORDINATOR_ADDRESS" in environment
    return {} if several or any(pathlib.Path(device).exists() for device in TPU_DEVICES) else None


def _checked(told: Mapping[str, str]) -> dict[str, str | int] | None:
    missing = [name for name in (ADDRESS, COUNT, INDEX) if name not in told]
    if missing:
        raise ValueError(
            f"{', '.join(told)} say that this is one of several processes, and {', '.join(missing)} is not set: set "
            f"{ADDRESS} (host:port of process 0), {COUNT} and {INDEX} for each of them, or none"
        )
    count, index = _number(told, COUNT), _number(told, INDEX)
    if not 0 <= index < count:
        raise ValueError(f"{INDEX} is {index} and {COUNT} is {count}: use numbers from 0 to {COUNT} - 1")
    if not told[ADDRESS].rpartition(":")[2].isdigit() or ":" not in told[ADDRESS]:
        raise ValueError(f"{ADDRESS} is {told[ADDRESS]!r}: use host:port, such as 10.0.0.1:1234")
    if count == 1:
        return None
    return {"coordinator_address": told[ADDRESS], "num_processes": count, "process_id": index}


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdigit():
        raise ValueError(f"{name} is {value!r}: it is to be a number of processes, or that of one")
    return int(value)


def _seconds(name: str, otherwise: int) -> int:
    value = os.environ.get(name) or str(otherwise)
    if not value.isdigit() or int(value) == 0:
        raise ValueError(f"{name} is {value!r}: use a whole number of seconds, such as {otherwise}")
    return int(value)


def start(*, saves_on_sigterm: bool) -> None:
    """Joins the other processes, if there are any.

    Args:
      saves_on_sigterm: whether SIGTERM is for `stopping.StopSignal` to act on, and not the end of this process.

    Raises:
      ValueError: if the environment is contradictory, or the others cannot be reached.
    """
    found = settings(os.environ)
    if found is None or is_of_several():
        return
    heartbeat = _seconds(HEARTBEAT, HEARTBEAT_SECONDS)
    _seconds(HANG, HANG_SECONDS)  # says what is wrong with it before the others are waited for
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", saves_on_sigterm)  # it takes SIGTERM for itself
    try:
        jax.distributed.initialize(
            **found,  # pyright: ignore[reportArgumentType] - of the types that _checked gives them
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            initialization_timeout=CONNECT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:  # of JAX's own and XLA's kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"cannot join the other processes: {lines[0]}. Are all of them started, with the same {ADDRESS}, reachable "
            "from here, and does each have its own number?"
        ) from error
    if jax.process_count() > 1:
        _heralds.append(_herald(heartbeat))
        atexit.register(_dismiss_heralds)


_heralds: list[subprocess.Popen[bytes]] = []


def _herald(heartbeat: int) -> subprocess.Popen[bytes]:
    """Starts another process, which says in one line why this one has ended, if it does so without a word.

    JAX aborts a process from a thread of C++ when others are gone or do not answer, even while it waits for them.
    """
    index, count = jax.process_index(), jax.process_count()
    message = (
        f"t5x-lite: process {index} of {count} was ended: it has lost another one, which has ended or does not answer "
        f"for {heartbeat} seconds, or it came no further (its stacks are above), or was killed itself. Look at what "
        "the others printed, and start all of them again: the run goes on from its last checkpoint"
    )
    command = [sys.executable, "-c", HERALD, message]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _dismiss_heralds() -> None:
    while _heralds:
        _heralds.pop().communicate(b".")


def is_of_several() -> bool:
    """Whether this process has joined others."""
    return jax.distributed.is_initialized()


def leave(status: int) -> NoReturn:
    """Ends this process at once, its errors said: on the usual way out it would wait for the others, as they for it."""
    _dismiss_heralds()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class HangWatch:
    """While entered, ends this process of several if `alive` is not called for long, and prints where it is.

    The others wait for it in a collective; those of TPUs and GPUs wait for ever.
    """

    def __enter__(self) -> Self:
        self._seconds = _seconds(HANG, HANG_SECONDS)
        self.alive()
        return self

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()

    def alive(self) -> None:
        """Begins to wait anew; to be called after each piece of work."""
        if is_of_several():
            faulthandler.dump_traceback_later(self._seconds, exit=True)


def first_alone(work: Callable[[], Result]) -> Result:
    """Does the same work in all processes, in process 0 before the others, who find what it has left.

    The others ask again and again and do not wait in one collective: those of CPUs give up after 30 seconds.

    Args:
      work: of any length.

    Raises:
      ValueError: in the others, if it failed in process 0.
    """
    if jax.process_count() == 1:
        return work()
    failed = False
    if jax.process_index() == 0:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            while not _of_first(future.done()):
                time.sleep(POLL_SECONDS)
        failed = future.exception() is not None
        _of_first(failed)
        return future.result()
    while not _of_first(False):
        time.sleep(POLL_SECONDS)
    if _of_first(failed):
        raise ValueError("process 0 has failed before this one could begin: see what it printed")
    return work()


def _of_first(flag: bool) -> bool:
    """What process 0 gives, in all of them."""
    return bool(np.asarray(multihost_utils.broadcast_one_to_all(np.int32(flag))))


def lost_peer(error: BaseException) -> str | None:
    """Returns what to say of an error if it is that of a collective, for another process is gone; None if it is not."""
    if not is_of_several() or not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    if not any(word in str(error).lower() for word in LOST_WORDS):
        return None
    lines = str(error).strip().splitlines()
    return (
        f"process {jax.process_index()} of {jax.process_count()} has lost another one, which has ended or does not "
        f"answer: see what that one printed, and start all of them again: the run goes on from its last checkpoint "
        f"({lines[0][:200]})"
    )
