"""Tests t5x_lite/parallel/replication.py"""

import jax
import numpy as np
import pytest

from t5x_lite.config import MeshConfig
from t5x_lite.parallel.mesh import batch_sharding, make_mesh, replicated
from t5x_lite.parallel.replication import check_sharded


def test_replicating_large_arrays_is_refused_on_a_mesh_that_could_shard_them():
    mesh = make_mesh(MeshConfig(data=1, fsdp=8))
    shapes = {
        "cut": jax.ShapeDtypeStruct((2**22, 8), np.float32, sharding=batch_sharding(mesh)),
        "whole": jax.ShapeDtypeStruct((2**23,), np.float32, sharding=replicated(mesh)),
    }
    with pytest.raises(ValueError, match=r"replicates 20% of the parameters .* most of all whole: shard over fsdp"):
        check_sharded(shapes, mesh)
    check_sharded({"cut": shapes["cut"]}, mesh)
