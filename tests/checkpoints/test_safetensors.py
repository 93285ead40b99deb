"""Tests t5x_lite/checkpoints/safetensors.py"""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from t5x_lite.checkpoints.safetensors import read_header, write_tensors, write_weights
from t5x_lite.checkpoints.weight_files import open_weights
from tests.checkpoints.layouts import files_of

RNG = np.random.default_rng(0)
ARRAYS = {"b": RNG.normal(size=(7, 5)), "a": RNG.normal(size=11), "c": RNG.normal(size=(3, 4, 2))}
ARRAYS = {name: array.astype(np.float32) for name, array in ARRAYS.items()}


def written(path, arrays=ARRAYS, dtype=np.float32):
    shapes = {name: array.shape for name, array in arrays.items()}
    write_tensors(path, shapes, lambda name: iter(np.array_split(arrays[name], 2)), np.dtype(dtype))
    return path


def raw(path, header, data=b""):
    """A file with any header."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def entry(shape=(2,), offsets=(0, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_is_written_the_library_reads(tmp_path):
    read = load_file(written(tmp_path / "x.safetensors"))
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_what_the_library_writes_is_read(tmp_path):
    save_file(ARRAYS, tmp_path / "x.safetensors", metadata={"format": "pt"})
    tensors = read_header(tmp_path / "x.safetensors")
    assert {name: tensor.shape for name, tensor in tensors.items()} == {k: a.shape for k, a in ARRAYS.items()}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(tensors[name].read(), array)


def test_parts_are_those_of_the_whole(tmp_path):
    tensors = read_header(written(tmp_path / "x.safetensors"))
    for name, index in {
        "a": (slice(3, 9),),
        "b": (slice(2, 7), slice(1, 4)),
        "c": (slice(1, 2), slice(0, 4), slice(1, 2)),
    }.items():
        np.testing.assert_array_equal(tensors[name].read(index), ARRAYS[name][index])
    assert tensors["b"].read((slice(2, 2), slice(0, 5))).shape == (0, 5)


def test_a_file_that_has_become_shorter_is_refused(tmp_path):
    path = written(tmp_path / "x.safetensors")
    tensor = read_header(path)["c"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"x.safetensors ends within the tensor c: it is damaged"):
        tensor.read((slice(0, 1), slice(0, 1), slice(0, 1)))


def test_an_index_that_does_not_fit_is_refused(tmp_path):
    tensor = read_header(written(tmp_path / "x.safetensors"))["b"]
    for index in ((slice(0, 8), slice(0, 5)), (slice(0, 7),), (slice(0, 7, 2), slice(0, 5))):
        with pytest.raises(ValueError, match=r"tensor b has shape \(7, 5\), which .* does not fit"):
            tensor.read(index)


def test_bfloat16_and_float16_keep_their_bits(tmp_path):
    for dtype in (ml_dtypes.bfloat16, np.float16):
        arrays = {"x": ARRAYS["b"].astype(dtype)}
        tensor = read_header(written(tmp_path / "x.safetensors", arrays, dtype))["x"]
        assert tensor.dtype == dtype
        np.testing.assert_array_equal(tensor.read().view(np.uint16), arrays["x"].view(np.uint16))


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path):
    content = written(tmp_path / "whole").read_bytes()
    for length in (0, 7, 8, 20, len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut .*(truncated|damaged)"):
            read_header(tmp_path / "cut")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{nonsense", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ([1, 2], "not a JSON object"),
        (
            {"x": entry(shape=(2**63,), offsets=(0, 8))},
            r"has 8 bytes for the tensor 'x' of shape \[9223372036854775808",
        ),
        ({"x": entry(shape=(-2,), offsets=(0, 8))}, "an invalid entry for the tensor 'x'"),
        ({"x": entry(shape=(2.0,))}, "an invalid entry for the tensor 'x'"),
        ({"x": entry(shape=(True, 2))}, "an invalid entry for the tensor 'x'"),
        ({"x": entry(offsets=(0, 8, 9))}, "an invalid entry for the tensor 'x'"),
        ({"x": entry(offsets=(8, 0))}, "has -8 bytes"),
        ({"x": {"dtype": "F32"}}, "an invalid entry for the tensor 'x'"),
        ({"x": None}, "an invalid entry for the tensor 'x'"),
        ({"x": entry(dtype="I64", offsets=(0, 16))}, "of type 'I64': use weights of type F64, F32, F16, BF16"),
        ({"x": entry(dtype=[])}, r"of type \[\]"),
        ({"x": entry(offsets=(8, 16))}, "gap or an overlap before the tensor 'x'"),
        ({"x": entry(), "y": entry()}, "gap or an overlap"),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path, header, message):
    with pytest.raises(ValueError, match=message):
        read_header(raw(tmp_path / "x.safetensors", header, b"\0" * 16))


def test_a_header_longer_than_the_file_is_not_read(tmp_path):
    (tmp_path / "x").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="claims a header of 4,611,686,018,427,387,904"):
        read_header(tmp_path / "x")


def test_bytes_after_the_numbers_are_refused(tmp_path):
    path = written(tmp_path / "x")
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match="bytes but its header says"):
        read_header(path)


def test_progress_counts_every_byte(tmp_path):
    counted = []
    shapes = {name: array.shape for name, array in ARRAYS.items()}
    write_tensors(
        tmp_path / "x", shapes, lambda name: iter([ARRAYS[name]]), np.dtype(np.float32), progress=counted.append
    )
    assert sum(counted) == 4 * sum(array.size for array in ARRAYS.values())


SIZED = {name: np.full((size, 2), size, np.float32) for name, size in (("a", 3), ("b", 5), ("c", 40), ("d", 1))}


def shards(directory, shard_bytes):
    shapes = {name: array.shape for name, array in SIZED.items()}
    dtype = np.dtype(np.float32)
    with files_of(shard_bytes):
        write_weights(directory, shapes, lambda name: iter(np.split(SIZED[name], 1)), dtype)
    return sorted(path.name for path in directory.iterdir())


def assert_whole(directory):
    found = open_weights(directory)
    assert found.keys() == SIZED.keys()
    for name, array in SIZED.items():
        np.testing.assert_array_equal(found[name].read(), array)


def test_few_bytes_are_one_file(tmp_path):
    assert shards(tmp_path, 10**6) == ["model.safetensors"]
    assert_whole(tmp_path)


def test_files_are_filled_in_order_and_a_large_array_has_one_of_its_own(tmp_path):
    names = shards(tmp_path, 64)  # bytes: a and b have 24 and 40, c has 320
    assert names == [*(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)), "model.safetensors.index.json"]
    index = json.loads((tmp_path / names[-1]).read_text())
    assert [index["weight_map"][name][6:11] for name in "abcd"] == ["00001", "00001", "00002", "00003"]
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in SIZED.values())
    assert_whole(tmp_path)
