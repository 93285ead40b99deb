"""Tests t5x_lite/checkpoints/restoring.py; tests/checkpoints/test_orbax.py restores what it saves, too"""

import contextlib
import gc
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from t5x_lite.checkpoints import restoring
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.checkpoints.restoring import check_files
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


@pytest.mark.parametrize("damage", [lose, cut_off, change_a_bit])
def test_a_damaged_checkpoint_is_named_with_the_whole_ones(checkpoints, damage):
    items = {"pair": Pair(jax.random.normal(jax.random.key(0), (300, 401)), {"count": jnp.asarray(3)})}
    for step in (5, 7):
        checkpoints.save(step, items, {})
    checkpoints.wait()
    damage(max((checkpoints.directory / "7" / "pair").rglob("*"), key=lambda path: path.stat().st_size))
    with pytest.raises(ValueError, match=r"checkpoint .*/7 is damaged: .*\. Whole: 5\. .* --from_step 5 "):
        restoring.restore(checkpoints, 7, abstract(items, one_device()))


@pytest.mark.parametrize("damage", [lose, cut_off])
def test_the_storage_layer_says_nothing_after_the_message(checkpoints, damage, caplog, capfd):
    items = {"many": {f"a{number}": jnp.ones((3, 5)) for number in range(30)}}
    checkpoints.save(7, items, {})
    checkpoints.wait()
    for file in (checkpoints.directory / "7" / "many").rglob("*"):
        if file.is_file() and file.name != "_METADATA":
            damage(file)
    items = {
        "many": {f"a{number}": jax.ShapeDtypeStruct((3, 5), jnp.float32, sharding=one_device()) for number in range(30)}
    }
    with pytest.raises(ValueError, match="is damaged: its many cannot be read"):
        restoring.restore(checkpoints, 7, abstract(items, one_device()))
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("item", ["meta", "shapes", "checksums"])
def test_metadata_with_another_digit_is_damaged(checkpoints, item):
    checkpoints.save(1, tree(), {"next_example": 12})
    checkpoints.wait()
    path = checkpoints.directory / "1" / item / "metadata"
    digits = next(text for text in ("12", "24", "8", "3") if text in path.read_text())
    path.write_text(path.read_text().replace(digits, str(int(digits) + 1), 1))
    with pytest.raises(ValueError, match="is damaged: the checksum of its meta, shapes and checksums does not match"):
        restoring.restore(checkpoints, 1, abstract(tree(), one_device()))
    with pytest.raises(ValueError, match="is damaged"):
        restoring.meta(checkpoints, 1)


def test_a_checkpoint_from_before_there_were_digests_is_read(checkpoints, monkeypatch):
    monkeypatch.setattr("t5x_lite.checkpoints.orbax.digest", lambda _: None)
    checkpoints.save(1, tree(), {"next_example": 12})
    checkpoints.wait()
    assert restoring.meta(checkpoints, 1) == {"next_example": 12}


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


@pytest.mark.parametrize(
    "name", ["_CHECKPOINT_METADATA", "meta/metadata", "shapes/metadata", "meta/commit_success.txt"]
)
@pytest.mark.parametrize("kind", ["device", "pipe", "nothing", "large"])
def test_files_that_could_be_read_without_end_are_refused(name, kind, tmp_path):
    path = tmp_path / "1" / name
    path.parent.mkdir(parents=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "nothing":
        path.symlink_to("missing")
    else:
        path.touch()
        os.truncate(path, 10**12)
    is_read = kind != "large" or "success" not in name
    problem = {"nothing": r"cannot be read \(No such", "large": "has 1,000,000,000,000 bytes, more than any such file"}
    expected = pytest.raises(ValueError, match=f"^its {name} {problem.get(kind, 'is not a file')}")
    with expected if is_read else contextlib.nullcontext():
        check_files(tmp_path / "1")


def test_links_to_files_are_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / "1" / "meta").mkdir(parents=True)
    (tmp_path / "1" / "meta" / "metadata").symlink_to(tmp_path / "elsewhere")
    check_files(tmp_path / "1")
