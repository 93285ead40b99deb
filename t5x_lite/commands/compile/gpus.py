# SPDX-License-Identifier: Apache-2.0
"""GPU topologies for ahead-of-time compilation by JAX's CUDA plugin, which needs neither a driver nor CUDA."""

import importlib.util
import os
from typing import Any, NamedTuple

from t5x_lite.perf.chips import CHIPS

PLUGINS = ("xla_cuda12", "xla_cuda13")
CUDA, CUDNN = (12, 8, 0), (9, 7, 0)  # the versions to compile for


class Gpu(NamedTuple):
    """The properties of a GPU that the compiler needs besides its memory, named as in CUDA."""

    kind: str  # JAX's device_kind
    compute_capability: tuple[int, int]
    num_cores: int  # streaming multiprocessors
    fpus_per_core: int
    shared_memory_per_core: int  # bytes
    cache_bytes: int  # L2
    clock_ghz: float


# A100 and H100 as XLA describes them (xla/tools/hlo_opt/gpu_specs); the H200 has the H100's die.
GPUS = {
    "a100": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 167_936, 41_943_040, 1.41),
    "h100": Gpu("NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 233_472, 52_428_800, 1.98),
    "h200": Gpu("NVIDIA H200", (9, 0), 132, 128, 233_472, 52_428_800, 1.98),
}
RESERVED_SHARED_MEMORY = 1024  # bytes per block


def gpu_topology(name: str, per_host: int, num_hosts: int) -> dict[str, Any]:
    """Prepares the process and returns JAX's arguments for a topology of GPUs, which NVLink connects in each host."""
    if importlib.util.find_spec("jax_plugins") is None or not any(
        importlib.util.find_spec(f"jax_plugins.{plugin}") for plugin in PLUGINS
    ):
        raise ValueError(
            f"topology is {name}:{per_host}, but JAX's plugin for CUDA is not installed: "
            "pip install 't5x-lite[cuda12-local]'"
        )
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # CUDA need not be installed
    return {
        "platform": "cuda",
        "topology_name": "",
        "topology": f"{num_hosts}x1x{per_host}",  # NVLink domains, hosts per domain, GPUs per host
        "target_config": target_config(name),
    }


def target_config(name: str) -> str:
    """Returns XLA's description of a GPU, a GpuTargetConfigProto in text format."""
    gpu = GPUS[name]
    chip = CHIPS[" ".join(gpu.kind.replace("-", " ").split()[:2])]
    device = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49_152,
        "shared_memory_per_core": gpu.shared_memory_per_core,
        "shared_memory_per_block_optin": gpu.shared_memory_per_core - RESERVED_SHARED_MEMORY,
        "threads_per_core_limit": 2048,
        "core_count": gpu.num_cores,
        "fpus_per_core": gpu.fpus_per_core,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 2**16 - 1,
        "block_dim_limit_z": 2**16 - 1,
        "memory_bandwidth": int(chip.hbm_bandwidth),
        "l2_cache_size": gpu.cache_bytes,
        "clock_rate_ghz": gpu.clock_ghz,
        "device_memory_size": int(chip.hbm_bytes),
        "registers_per_core_limit": 65_536,
        "registers_per_block_limit": 65_536,
        "cuda_compute_capability": dict(zip(("major", "minor"), gpu.compute_capability, strict=True)),
    }
    config = {
        "gpu_device_info": device,
        "platform_name": "CUDA",
        "dnn_version_info": dict(zip(("major", "minor", "patch"), CUDNN, strict=True)),
        "runtime_version": dict(zip(("major", "minor", "patch"), CUDA, strict=True)),
        "device_description_str": gpu.kind,
    }
    return _as_text(config)


def _as_text(fields: dict[str, Any]) -> str:
    def item(name: str, value: Any) -> str:
        if isinstance(value, dict):
            return f"{name} {{\n{_as_text(value)}}}\n"
        return f'{name}: "{value}"\n' if isinstance(value, str) else f"{name}: {value}\n"

    return "".join(item(name, value) for name, value in fields.items())
