# SPDX-License-Identifier: Apache-2.0
"""The mesh of commands in which each process works by itself."""

import jax
from jax.sharding import Mesh

from t5x_lite.config import MeshConfig
from t5x_lite.parallel.mesh import make_mesh


def local_mesh(cfg: MeshConfig) -> Mesh | None:
    """Returns the mesh of this process's devices, or None if the job has only one; raises ValueError as `make_mesh`."""
    mesh = make_mesh(cfg, jax.local_devices())
    return mesh if jax.device_count() > 1 else None
