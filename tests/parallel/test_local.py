"""Tests t5x_lite/parallel/local.py"""

import jax
import pytest

from t5x_lite.config import MeshConfig
from t5x_lite.parallel.local import local_mesh


def test_a_job_with_one_device_has_no_mesh_but_its_sizes_are_checked(monkeypatch):
    assert local_mesh(MeshConfig(data=4, fsdp=2)).size == 8
    device = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: device)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert local_mesh(MeshConfig()) is None
    with pytest.raises(ValueError, match=r"mesh.data 1, mesh.fsdp 8, .* need 8 devices, but there are 1"):
        local_mesh(MeshConfig(data=1, fsdp=8))
