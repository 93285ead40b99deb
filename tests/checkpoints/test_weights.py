"""Tests t5x_lite/checkpoints/weights.py"""

import jax
import numpy as np

from t5x_lite.checkpoints.weights import placed, read_arrays, reader
from t5x_lite.config import MeshConfig
from t5x_lite.model.architectures import abstract
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.parallel.param_paths import named_leaves
from tests import tiny
from tests.checkpoints.layouts import model_of

MODEL = tiny.drawn(T5, tiny.T5_1_1)


class Asked:
    """Weights in memory that remember which parts were read."""

    config, dtype = tiny.T5_1_1, np.dtype(np.float32)

    def __init__(self):
        self.parts = []

    def read(self, name, index):
        self.parts.append((name, index))
        return reader(MODEL)(name, index)


def test_a_model_on_one_device_is_read_a_parameter_at_a_time():
    weights = Asked()
    jax.tree.map(np.testing.assert_array_equal, model_of(weights), MODEL)
    assert len(weights.parts) == len(jax.tree.leaves(MODEL))


def test_on_a_mesh_no_more_than_the_parts_of_its_devices_is_read():
    weights, mesh = Asked(), make_mesh(MeshConfig(data=2, fsdp=4, tensor=1))
    jax.tree.map(np.testing.assert_array_equal, model_of(weights, placed(tiny.T5_1_1, mesh)), MODEL)
    sizes = {name: leaf.shape for name, leaf in named_leaves(MODEL).items()}
    embedding = [index for name, index in weights.parts if name == "embedding"]
    assert {(index[1].start, index[1].stop) for index in embedding} == {(5 * i, 5 * i + 5) for i in range(4)}
    assert all(index[0] == slice(0, sizes["embedding"][0]) for index in embedding)


def test_a_parameter_may_have_another_name_on_disk():
    leaf = named_leaves(abstract(tiny.T5_1_1))["embedding"]
    found = read_arrays(
        lambda name, index: np.full(leaf.shape, len(name), np.float32), {"mine": leaf}, {"mine": "other"}
    )
    assert (np.asarray(found["mine"]) == 5).all()


def test_a_part_that_several_devices_hold_is_read_once():
    weights, mesh = Asked(), make_mesh(MeshConfig(data=8, fsdp=1, tensor=1))
    jax.tree.map(np.testing.assert_array_equal, model_of(weights, placed(tiny.T5_1_1, mesh)), MODEL)
    assert len(weights.parts) == len(jax.tree.leaves(MODEL))
