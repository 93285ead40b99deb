"""Tests t5x_lite/checkpoints/orbax.py"""

import shutil
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x_lite.checkpoints import restoring
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.parallel.param_paths import from_pure_dict, to_pure_dict
from tests import tiny
from tests.paths import ROOT


class Pair(NamedTuple):
    first: jax.Array
    second: dict


def tree():
    return {"pair": Pair(jnp.arange(24.0).reshape(8, 3), {"count": jnp.asarray(3)})}


def abstract(tree, sharding=None):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints", keep=2)
    yield opened
    opened.close()


def one_device():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def test_a_tree_becomes_dictionaries_and_comes_back():
    state = {"model": tiny.model(tiny.T5_1_1), "optimizer": optax.adam(1e-3).init({"w": jnp.ones(3)}), **tree()}
    pure = to_pure_dict(state)
    assert pure["model"]["encoder"]["blocks"]["attention"]["query"].shape == (2, 20, 3, 5)
    assert pure["pair"]["second"]["count"] == 3
    restored = from_pure_dict(abstract(state), pure)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert all(a is b for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True))


def test_what_is_saved_is_restored(checkpoints):
    checkpoints.save(4, tree(), {"next_example": 12})
    checkpoints.wait()
    assert checkpoints.latest_step() == 4
    assert restoring.meta(checkpoints, 4) == {"next_example": 12}
    restored = restoring.restore(checkpoints, 4, abstract(tree(), one_device()))
    jax.tree.map(np.testing.assert_array_equal, restored, tree())
    assert isinstance(restored["pair"], Pair)


def test_arrays_may_change_after_they_were_saved(checkpoints):
    items = jax.jit(lambda: {"big": {"x": jnp.ones((1_000, 1_000))}})()
    checkpoints.save(1, items, {})
    overwrite = jax.jit(lambda items: jax.tree.map(lambda x: x * 0 + 7, items), donate_argnums=0)
    jax.block_until_ready(overwrite(items))
    checkpoints.wait()
    restored = restoring.restore(checkpoints, 1, {"big": {"x": jax.ShapeDtypeStruct((1_000, 1_000), jnp.float32)}})
    np.testing.assert_array_equal(restored["big"]["x"], 1.0)


def test_the_newest_are_kept(checkpoints):
    for step in (1, 2, 3):
        checkpoints.save(step, tree(), {})
    checkpoints.wait()
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["2", "3"]


def test_one_is_spared_beside_the_newest(checkpoints):
    asked = []
    checkpoints.spare = lambda steps: asked.append(steps) or 3
    for step in (1, 3, 5, 7, 9):
        checkpoints.save(step, tree(), {})
    checkpoints.wait()
    assert checkpoints.steps() == [3, 7, 9]
    assert asked == [[1, 3, 5], [3, 5, 7], [3, 5, 7, 9]]  # never while all are kept


def test_a_checkpoint_that_does_not_fit_the_disk_is_not_begun(checkpoints, monkeypatch):
    free = shutil.disk_usage(checkpoints.directory)._replace(free=50)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(OSError, match=r"cannot write a checkpoint of .* MB are free"):
        checkpoints.save(1, tree(), {})
    assert checkpoints.latest_step() is None


SAVE_ON_A_FULL_DISK = """
import pathlib, resource, sys
import jax.numpy as jnp
from t5x_lite.checkpoints.orbax import Checkpoints
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), keep=2)
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
try:
    checkpoints.save(2, {"model": {"w": jnp.arange(70_000) ** 2}}, {})
    checkpoints.wait()
except OSError as error:
    print(error, file=sys.stderr)
"""


def test_a_disk_that_fills_up_during_a_save_is_told_in_one_line(tmp_path):
    command = [sys.executable, "-c", SAVE_ON_A_FULL_DISK, str(tmp_path / "checkpoints")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cannot write a checkpoint to {tmp_path / 'checkpoints'}: File too large. Earlier check")


def test_a_directory_without_checkpoints_has_no_latest_step(checkpoints):
    assert checkpoints.latest_step() is None
