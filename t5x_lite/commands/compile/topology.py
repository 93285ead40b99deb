# SPDX-License-Identifier: Apache-2.0
"""Devices to compile for ahead of time, by topology name.

No hardware is needed: libtpu (extra `tpu`) and JAX's CUDA plugin contain the complete compilers.
"""

import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax

from t5x_lite.commands.compile.gpus import GPUS, gpu_topology
from t5x_lite.files.messages import first_line

TOPOLOGY = re.compile(r"(?P<chip>[a-z0-9]+):(?P<bounds>\d+(x\d+){0,2})")
# TPUs, and the units per chip in their accelerator-type names (v4 counts cores).
UNITS = {"v4": 2, "v5e": 1, "v5p": 2, "v6e": 1, "tpu7x": 2}
HOST_BOUNDS = (2, 2, 1)  # chips of one host along each dimension


def bounds_of(name: str) -> tuple[int, ...]:
    """Returns the number of chips along each dimension of a topology, or the GPUs per host."""
    match = TOPOLOGY.fullmatch(name)
    bounds = match["bounds"].split("x") if match else []
    known = match and (len(bounds) > 1 if match["chip"] in UNITS else match["chip"] in GPUS and len(bounds) == 1)
    if not known or any(int(bound) == 0 for bound in bounds):
        raise ValueError(
            f"topology is {name!r}: give a TPU ({', '.join(UNITS)}) and its chips along each dimension, such as "
            f"v5e:4x4, v5p:4x4x8 or v6e:16x16; or a GPU ({', '.join(GPUS)}) and the GPUs per host, such as h100:8"
        )
    return tuple(int(bound) for bound in bounds)


def tpu_topology(name: str, bounds: tuple[int, ...], num_slices: int) -> dict[str, Any]:
    """Prepares libtpu for a machine without TPUs and returns JAX's arguments for a topology with these bounds."""
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(f"topology is {name}, but libtpu is not installed: pip install 't5x-lite[tpu]'")
    chip = name.partition(":")[0]
    accelerator = {"v5e": "v5litepod"}.get(chip, chip)
    settings = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": f"{accelerator}-{math.prod(bounds) * UNITS[chip]}",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # compiling occupies no chip
    }
    for setting, value in settings.items():
        os.environ.setdefault(setting, value)
    topology: dict[str, Any] = {"platform": "tpu", "topology_name": name}
    host = [min(limits) for limits in zip(HOST_BOUNDS, (*bounds, 1), strict=False)]
    if tuple(host) != HOST_BOUNDS:
        topology["chips_per_host_bounds"] = host
    if num_slices > 1:
        topology["num_slices"] = num_slices
    return topology


def topology_devices(name: str, num_slices: int) -> Sequence[Any]:
    """Returns the devices of a topology to compile for.

    Args:
      name: the topology, such as v5e:16x16 or h100:8.
      num_slices: the number of TPU slices or GPU hosts, connected by the data-centre network.

    Raises:
      ValueError: if the compiler is not installed, or does not know the topology.
    """
    bounds, chip = bounds_of(name), name.partition(":")[0]
    if chip in GPUS:
        compiler, topology = "JAX's plugin for CUDA", gpu_topology(chip, bounds[0], num_slices)
    else:
        compiler, topology = "libtpu", tpu_topology(name, bounds, num_slices)
    jax.config.update("jax_platforms", "cpu")
    from jax.experimental import topologies  # only after the process is prepared

    try:
        return topologies.get_topology_desc(**topology).devices
    except Exception as error:  # whatever the compiler raises
        raise ValueError(f"topology is {name}, which {compiler} rejects: {first_line(error)}") from error
