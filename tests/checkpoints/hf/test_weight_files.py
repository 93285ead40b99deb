"""Tests t5x_lite/checkpoints/hf/weight_files.py; what is wrong in an index is in test_hf.py."""

import json

import numpy as np
import pytest

from t5x_lite.checkpoints.hf.weight_files import open_weights, write_weights

ARRAYS = {name: np.full((size, 2), size, np.float32) for name, size in (("a", 3), ("b", 5), ("c", 40), ("d", 1))}


def written(directory, shard_bytes):
    shapes = {name: array.shape for name, array in ARRAYS.items()}
    dtype = np.dtype(np.float32)
    write_weights(directory, shapes, lambda name: iter(np.split(ARRAYS[name], 1)), dtype, shard_bytes=shard_bytes)
    return sorted(path.name for path in directory.iterdir())


def assert_whole(directory):
    found = open_weights(directory)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name].read(), array)


def test_few_bytes_are_one_file(tmp_path):
    assert written(tmp_path, 10**6) == ["model.safetensors"]
    assert_whole(tmp_path)


def test_files_are_filled_in_order_and_a_large_array_has_one_of_its_own(tmp_path):
    names = written(tmp_path, 64)  # bytes: a and b have 24 and 40, c has 320
    assert names == [*(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)), "model.safetensors.index.json"]
    index = json.loads((tmp_path / names[-1]).read_text())
    assert [index["weight_map"][name][6:11] for name in "abcd"] == ["00001", "00001", "00002", "00003"]
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in ARRAYS.values())
    assert_whole(tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "x/model.safetensors", "model.bin"])
def test_a_file_elsewhere_is_not_read(tmp_path, name):
    index = written(tmp_path, 64)[-1]
    (tmp_path / index).write_text(json.dumps({"weight_map": dict.fromkeys(ARRAYS, name)}))
    with pytest.raises(ValueError, match=r"names the file .*: t5x_lite reads .safetensors files beside it alone"):
        open_weights(tmp_path)
