# SPDX-License-Identifier: Apache-2.0
"""Multi-process runs: start-up, and work that process 0 does first.

Call `start` before any other use of JAX. On TPU pods, GKE, SLURM and Open MPI, JAX detects the other processes;
elsewhere, set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
"""

import faulthandler
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

import jax

Result = TypeVar("Result")

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
# Heartbeat timeout: peers abort this long after a process dies or stops, unless a collective fails earlier.
HEARTBEAT, HEARTBEAT_SECONDS = "T5X_LITE_HEARTBEAT_SECONDS", 30  # JAX's default is 100
# Watchdog timeout: a process aborts if it makes no progress for this long, say on a stalled file system.
HANG, HANG_SECONDS = "T5X_LITE_HANG_SECONDS", 1800
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI_4 = "OMPI_MCA_orte_hnp_uri"  # the address of process 0; Open MPI 5 does not set it
OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")


def settings(environment: Mapping[str, str]) -> dict[str, str | int] | None:
    """Returns the arguments of `jax.distributed.initialize`: {} if JAX detects them, None for a single process."""
    given = {name: environment[name] for name in (ADDRESS, COUNT, INDEX) if environment.get(name)}
    if COUNT not in given and all(name in environment for name in OPEN_MPI) and OPEN_MPI_4 not in environment:
        given |= dict(zip((COUNT, INDEX), (environment[name] for name in OPEN_MPI), strict=True))
        if given[COUNT] == "1" and ADDRESS not in given:
            return None
    if COUNT in given or INDEX in given:
        return _checked(given)
    if all(name in environment for name in SLURM):
        return {} if integer(environment, "SLURM_NTASKS") > 1 else None
    if OPEN_MPI_4 in environment:
        return {} if integer(environment, OPEN_MPI[0]) > 1 else None
    is_pod = "," in environment.get("TPU_WORKER_HOSTNAMES", "") or "MEGASCALE_COORDINATOR_ADDRESS" in environment
    has_tpu = is_pod or any(pathlib.Path(device).exists() for device in TPU_DEVICES)
    if has_tpu and "TPU_SKIP_MDS_QUERY" not in environment and environment.get("JAX_PLATFORMS") != "cpu":
        return {}
    return _checked(given) if given else None  # refuses an address alone


def _checked(given: Mapping[str, str]) -> dict[str, str | int] | None:
    from t5x_lite.parallel.joining import checked

    return checked(given)


def integer(environment: Mapping[str, str], name: str) -> int:
    """Returns a variable of the environment as a number; raises ValueError if it is not a whole one."""
    value = environment.get(name, "")
    if not value.isdigit():
        raise ValueError(f"{name} is {value!r}: use a whole number")
    return int(value)


def _seconds(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdigit() or int(value) == 0:
        raise ValueError(f"{name} is {value!r}: use a whole number of seconds, such as {default}")
    return int(value)


def start(*, saves_on_sigterm: bool) -> None:
    """Joins the other processes of the run, if any; see `joining.join`."""
    arguments = settings(os.environ)
    if arguments is None or is_multiprocess():
        return
    from t5x_lite.parallel.joining import join

    _seconds(HANG, HANG_SECONDS)  # fails before connecting if it is invalid
    heartbeat = _seconds(HEARTBEAT, HEARTBEAT_SECONDS)
    join(arguments, heartbeat_seconds=heartbeat, saves_on_sigterm=saves_on_sigterm)


def is_multiprocess() -> bool:
    """Returns whether this process has joined a multi-process run."""
    return jax.distributed.is_initialized()


class Watchdog:
    """Context manager that prints all stacks and exits if `heartbeat` is not called in time.

    Only active in multi-process runs, where the others would otherwise wait in a collective, forever on TPUs and GPUs.
    """

    def __enter__(self) -> Self:
        self._seconds = _seconds(HANG, HANG_SECONDS)
        self.heartbeat()
        return self

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()

    def heartbeat(self) -> None:
        """Restarts the timeout."""
        if is_multiprocess():
            faulthandler.dump_traceback_later(self._seconds, exit=True)


def process_0_first(work: Callable[[], Result]) -> Result:
    """Does the same work in all processes, first in process 0, so that the others can reuse its files.

    The others raise ValueError if the work failed in process 0.
    """
    if jax.process_count() == 1:
        return work()
    from t5x_lite.parallel.joining import wait_for_process_0

    return wait_for_process_0(work)
