"""Tests t5x_lite/checkpoints/weight_files.py"""

import json

import numpy as np
import pytest

from t5x_lite.checkpoints.safetensors import write_tensors
from t5x_lite.checkpoints.weight_files import open_weights
from tests.files.test_git_lfs import POINTER

ARRAYS = {name: np.full((size, 2), size, np.float32) for name, size in (("a", 3), ("b", 5), ("c", 4))}
FIRST, SECOND, INDEX = "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"


def write(path, names, arrays=ARRAYS):
    shapes = {name: arrays[name].shape for name in names}
    write_tensors(path, shapes, lambda name: iter([arrays[name]]), np.dtype(np.float32))


def write_index(directory, places):
    (directory / INDEX).write_text(json.dumps({"weight_map": places}))


@pytest.fixture
def sharded(tmp_path):
    """Two files and their index."""
    write(tmp_path / FIRST, "ab")
    write(tmp_path / SECOND, "c")
    write_index(tmp_path, {"a": FIRST, "b": FIRST, "c": SECOND})
    return tmp_path


def assert_read(directory):
    found = open_weights(directory)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name].read(), array)


def test_the_files_of_an_index_are_read(sharded):
    assert_read(sharded)


@pytest.mark.parametrize(
    "places",
    [
        {"a": FIRST, "b": FIRST, "c": SECOND, "a copy of a": SECOND},
        {"a": FIRST, "c": SECOND},
        {"a": SECOND, "b": FIRST, "c": FIRST},
        {"x": FIRST, "y": SECOND},
    ],
)
def test_what_is_in_the_files_counts_not_what_the_index_says_of_it(sharded, places):
    write_index(sharded, places)
    assert_read(sharded)


def test_a_file_that_the_index_does_not_name_is_not_read(sharded):
    write_index(sharded, {"a": FIRST})
    assert open_weights(sharded).keys() == {"a", "b"}


def test_a_copy_in_two_files_is_read_and_another_array_of_its_name_is_refused(sharded):
    write(sharded / SECOND, "bc")
    assert_read(sharded)
    write(sharded / SECOND, "bc", ARRAYS | {"b": ARRAYS["b"] + 1})
    with pytest.raises(ValueError, match=r"model-2.safetensors has a different 'b' from an earlier file"):
        open_weights(sharded)


def test_a_missing_file_is_named(sharded):
    (sharded / SECOND).unlink()
    with pytest.raises(ValueError, match=r"model-2.safetensors, which .*index.json names, does not exist: download"):
        open_weights(sharded)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", "x/model.safetensors", "..\\x.safetensors", "model.bin", "\0"]
)
def test_a_file_elsewhere_is_not_read(sharded, name):
    write_index(sharded, {"a": FIRST, "b": name})
    with pytest.raises(ValueError, match=r"names the file .*: only .safetensors files beside it are read"):
        open_weights(sharded)


@pytest.mark.parametrize("places", [["x"], {}, {"a": 1}, None])
def test_an_index_without_places_is_refused(sharded, places):
    write_index(sharded, places)
    with pytest.raises(ValueError, match="has no weight_map from names to files"):
        open_weights(sharded)


def test_a_single_file_is_preferred_to_an_index_and_safetensors_to_torch(sharded):
    (sharded / "pytorch_model.bin").write_bytes(b"not read")
    assert_read(sharded)
    write(sharded / "model.safetensors", "a")
    assert open_weights(sharded).keys() == {"a"}


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", FIRST])
def test_a_git_lfs_pointer_is_named_as_such(sharded, name):
    if name == "pytorch_model.bin":
        (sharded / INDEX).unlink()
    (sharded / name).write_text(POINTER)
    with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer"):
        open_weights(sharded)


@pytest.mark.parametrize("name", ["model.safetensors", INDEX, "pytorch_model.bin"])
def test_a_link_to_nothing_as_in_a_copy_of_the_hubs_cache_is_named_as_such(name, tmp_path):
    (tmp_path / name).symlink_to("../../blobs/4d7a")
    with pytest.raises(ValueError, match=rf"{name} links to a missing file: copy .* cp -rL"):
        open_weights(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".index.json"])
@pytest.mark.parametrize(("name", "option"), [("flax_model.msgpack", "from_flax"), ("tf_model.h5", "from_tf")])
def test_weights_for_another_library_alone_are_named_with_the_remedy(name, option, suffix, tmp_path):
    (tmp_path / f"{name}{suffix}").touch()
    with pytest.raises(ValueError, match=rf"has only weights for \w+, {name}: download .*{option}=True"):
        open_weights(tmp_path)


@pytest.mark.parametrize("name", [FIRST, "model.fp16.safetensors", "pytorch_model-00001-of-00002.bin"])
def test_parts_of_the_weights_without_an_index_are_named(name, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"has {name}, but neither model.safetensors .*: download all files"):
        open_weights(tmp_path)


def test_a_directory_without_weights_is_refused(tmp_path):
    (tmp_path / "training_args.bin").touch()
    with pytest.raises(ValueError, match=r"has neither model.safetensors \(or .*pytorch_model.bin \(or "):
        open_weights(tmp_path)
