"""Tests t5x_lite/checkpoints/restoring.py; tests/checkpoints/test_orbax.py restores what it saves, too"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from t5x_lite.checkpoints import restoring
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.config import MeshConfig
from t5x_lite.parallel.mesh import make_mesh
from tests.checkpoints.test_orbax import Pair, abstract, one_device, tree


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints", keep=2)
    yield opened
    opened.close()


def test_arrays_go_where_the_reader_wants_them(checkpoints):
    checkpoints.save(1, tree(), {})
    checkpoints.wait()
    sharding = NamedSharding(make_mesh(MeshConfig(fsdp=8, data=1)), PartitionSpec("fsdp"))
    shapes = {"pair": {"first": jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=sharding)}}
    whole = {"pair": {**shapes["pair"], "second": {"count": jax.ShapeDtypeStruct((), jnp.int32)}}}
    restored = restoring.restore(checkpoints, 1, whole)["pair"]["first"]
    assert restored.sharding == sharding
    np.testing.assert_array_equal(restored, tree()["pair"].first)


def lose(path):
    path.unlink()


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore")  # the storage layers warn on their way to the error
@pytest.mark.parametrize("damage", [lose, cut_off, change_a_bit])
def test_a_damaged_checkpoint_is_named_with_the_remedy(checkpoints, damage):
    items = {"pair": Pair(jax.random.normal(jax.random.key(0), (300, 401)), {"count": jnp.asarray(3)})}
    checkpoints.save(7, items, {})
    checkpoints.wait()
    damage(max((checkpoints.directory / "7" / "pair").rglob("*"), key=lambda path: path.stat().st_size))
    with pytest.raises(ValueError, match=r"cannot read checkpoint .*/7: .*delete that directory"):
        restoring.restore(checkpoints, 7, abstract(items, one_device()))


def test_other_shapes_than_those_saved_are_refused(checkpoints):
    checkpoints.save(1, tree(), {})
    checkpoints.wait()
    other = {"pair": Pair(jnp.zeros((8, 4)), {"count": jnp.asarray(3)})}
    with pytest.raises(ValueError, match=r"has pair/first of shape \[8, 3\], not \[8, 4\]"):
        restoring.restore(checkpoints, 1, abstract(other, one_device()))


def test_arrays_are_read_by_name_without_the_tree_they_were_in(tmp_path):
    tree = {"0": {"count": jnp.int32(7), "v": {"value": jnp.arange(3.0), "key": jnp.ones((2, 5))}}}
    wrapped = jax.tree.map(lambda leaf: {"value": leaf}, tree)  # as Flax's variables are
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, {"optimizer": wrapped, "other": {"x": jnp.zeros(2)}}, {})
    checkpoints.wait()
    found = restoring.arrays(checkpoints, 1, "optimizer")
    checkpoints.close()
    assert {name: array.dtype.name for name, array in found.items()} == {
        "0/count": "int32",
        "0/v/value": "float32",
        "0/v/key": "float32",
    }
    np.testing.assert_array_equal(found["0/v/value"], [0, 1, 2])
