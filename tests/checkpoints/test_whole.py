"""Tests t5x_lite/checkpoints/whole.py"""

import jax.numpy as jnp
import pytest

from t5x_lite.checkpoints import whole
from t5x_lite.checkpoints.orbax import Checkpoints
from tests.checkpoints.test_restoring import change_a_bit, cut_off, lose


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(directory, keep=3)
    for step in (9, 10, 11):
        arrays = {"value": jnp.full((3, 5), step), "b": jnp.asarray(step, jnp.bfloat16), "count": jnp.asarray(step)}
        checkpoints.save(step, {"one": {"inner": arrays}, "other": {"x": jnp.zeros(2)}}, {"next_example": step})
    checkpoints.wait()
    checkpoints.close()
    return directory


@pytest.fixture
def broken(saved):
    """Damages files of the newest checkpoint and puts them back afterwards."""
    before = {}

    def damage(how, item):
        path = next((saved / "11" / item / "d").glob("*"), saved / "11" / item / "metadata")
        before[path] = path.read_bytes()
        how(path)

    yield damage
    for path, content in before.items():
        path.write_bytes(content)


def test_all_checkpoints_are_whole_as_saved(saved):
    assert whole.whole_steps(saved) == [9, 10, 11]
    assert whole.newest_whole(saved) == 11


@pytest.mark.parametrize("how", [lose, cut_off, change_a_bit])
@pytest.mark.parametrize("item", ["one", "other", "meta", "shapes", "checksums"])
def test_damage_of_any_item_is_found(saved, broken, item, how):
    broken(how, item)
    assert whole.whole_steps(saved) == [9, 10]
    assert whole.damage(saved / "11").startswith(("its ", "the checksum of its "))


def test_the_newest_whole_checkpoint_is_offered(saved, broken):
    broken(lose, "meta")
    assert whole.newest_whole(saved) == 10
    assert whole.describe_whole(saved, 11).startswith(
        "Whole: 9, 10. To use it, add --from_step 10 to train, or --step 10 to"
    )


def test_without_another_whole_checkpoint_none_is_offered(tmp_path):
    (tmp_path / "4").mkdir()
    assert whole.describe_whole(tmp_path, 4).startswith("No other checkpoint of this run is whole")
