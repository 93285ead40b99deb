"""Tests t5x_lite/checkpoints/torch_zip.py on files of torch, by make_golden_torch.py, and on files made by hand."""

import json
import pathlib
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest

from t5x_lite.checkpoints import torch_zip
from t5x_lite.checkpoints.arrays import equal
from t5x_lite.checkpoints.hf.weights import open_checkpoint
from t5x_lite.checkpoints.safetensors import read_header as read_safetensors
from t5x_lite.checkpoints.torch_zip import read_header
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.checkpoints.layouts import model_of
from tests.checkpoints.torch_files import (
    ARRAYS,
    CLASSES,
    GOLDEN,
    archive,
    pickled,
    pickled_arrays,
    storage,
    tensor,
    torch_bytes,
    torch_file,
)
from tests.paths import ROOT

HF = pathlib.Path(__file__).parent / "hf" / "golden"


def assert_read(path, expected=ARRAYS):
    found = read_header(path)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(found[name].read(), array)


@pytest.mark.parametrize("name", ["state_dict", "no_checksums"])
def test_what_torch_writes_is_read(name):
    found, expected = read_header(GOLDEN / f"{name}.bin"), dict(np.load(GOLDEN / "expected.npz"))
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key].read().astype(np.float64), array)
    assert [found[f"torch.{dtype}"].dtype.name for dtype in ("bfloat16", "float16", "float64")] == [
        "bfloat16",
        "float16",
        "float64",
    ]


def test_tied_tensors_are_the_same_bytes_and_equal_without_being_read(monkeypatch):
    found = read_header(GOLDEN / "state_dict.bin")
    monkeypatch.setattr(torch_zip.Tensor, "read", None)
    assert equal(found["0.weight"], found["1.weight"])
    assert found["0.weight"] != found["row"]


@pytest.mark.parametrize("name", ["transposed", "sliced", "row", "torch.bfloat16"])
def test_a_slice_of_a_strided_tensor_is_read(name):
    found, expected = read_header(GOLDEN / "state_dict.bin")[name], np.load(GOLDEN / "expected.npz")[name]
    index = tuple(slice(size // 3, size) for size in expected.shape)
    np.testing.assert_array_equal(found.read(index).astype(np.float64), expected[index])
    with pytest.raises(ValueError, match=r"which .* does not fit"):
        found.read((slice(0, 100),) * expected.ndim)


@pytest.mark.parametrize("order", ["little", "big"])
def test_storages_have_the_order_of_bytes_that_the_file_says(order, tmp_path):
    assert_read(torch_file(tmp_path / "x.bin", order=order))


def test_files_that_do_not_say_their_order_of_bytes_are_little_endian(tmp_path):
    arrays = {"data.pkl": pickled_arrays({"a": ARRAYS["a"]}), "data/0": ARRAYS["a"].tobytes()}
    (tmp_path / "x.bin").write_bytes(archive(arrays, folder="pytorch_model/"))
    assert_read(tmp_path / "x.bin", {"a": ARRAYS["a"]})


def test_a_model_is_the_same_from_either_format(tmp_path):
    arrays = {name: t.read() for name, t in read_safetensors(HF / "t5" / "model.safetensors").items()}
    arrays["lm_head.weight"] = arrays["shared.weight"]
    (tmp_path / "config.json").write_bytes((HF / "t5" / "config.json").read_bytes())
    torch_file(tmp_path / "pytorch_model.bin", arrays)
    ours, theirs = (open_checkpoint(directory, ByteTokenizer()) for directory in (tmp_path, HF / "t5"))
    assert ours.config == theirs.config
    np.testing.assert_array_equal(model_of(ours).embedding[...], model_of(theirs).embedding[...])


def test_the_files_of_an_index_are_read(tmp_path):
    places = {}
    for place, (name, array) in enumerate(ARRAYS.items()):
        file = torch_file(tmp_path / f"pytorch_model-{place}.bin", {name: array})
        places[name] = file.name
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    found = open_weights(tmp_path)
    assert all(np.array_equal(found[name].read(), array) for name, array in ARRAYS.items())


def test_formats_before_the_zip_one_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"legacy.bin is in the format of torch before 1.6, .* transformers: Auto"):
        read_header(GOLDEN / "legacy.bin")
    (tmp_path / "x.bin").write_bytes(b"\0" * 257 + b"ustar" + b"\0" * 500)
    with pytest.raises(ValueError, match=r"x.bin is in the tar format of torch .* torch.save\(torch.load\('\S*x.bin'"):
        read_header(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.bin is empty: download it again"),
        (b"<!DOCTYPE html>", "x.bin is not a file of torch.save: download it again"),
        (
            torch_bytes()[:-30],
            "is not a complete zip archive .File is not a zip file.: it is damaged; download it again",
        ),
        (torch_bytes()[:500], "is not a complete zip archive"),
        (archive({"version": "3"}), "has no data.pkl: it is damaged"),
        (torch_bytes()[:300] + archive({}), "has no data.pkl: it is damaged"),
        (torch_bytes(data_0=b"", byteorder="middle"), "has the byte order b'middle'"),
        (torch_bytes(byteorder="little, but with much more"), "has the byte order b''"),
        (torch_bytes(**{"data/1": b"12"}), r"tensor 'b' has 2 bytes for the 7 numbers of its storage"),
        (archive({"data.pkl": pickled_arrays(ARRAYS)}), r"tensor 'a' has no bytes for the 15 numbers"),
        (archive({"data.pkl": "x", "../../data/0": "x"}, "a/"), "has a damaged pickle"),
        (
            archive({"data.pkl": "x"}, compression=zipfile.ZIP_DEFLATED),
            "compressed member 'archive/data.pkl'",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(content, message, tmp_path):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_header(tmp_path / "x.bin")
    assert "\n" not in str(error.value)


PLACE = storage("0", 15)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor(PLACE, [4, 4]), r"tensor 'a' of shape \[4, 4\] does not fit into the 15 numbers"),
        (tensor(PLACE, [3, 5], offset=1), "does not fit"),
        (tensor(PLACE, [3], [8]), "does not fit"),
        (tensor(PLACE, [3], [1, 1]), "does not fit"),
        (tensor(PLACE, [3, 2], [1]), "does not fit"),
        (tensor(PLACE, [5, 5], [0, 1]), "does not fit"),
        (tensor(PLACE, [2**40, 2**40], [0, 0]), "claims the impossible shape"),
        (tensor(PLACE, [1] * 17), "claims the impossible shape"),
        (tensor(PLACE, [3], [2**62]), "does not fit"),
        (tensor(storage("0", 16), [3]), "has 60 bytes for the 16 numbers of its storage"),
        (tensor(storage("0", 2**62), [3]), "has 60 bytes for the 4,611,686,018,427,387,904 numbers"),
        (tensor(storage("../0", 15), [3]), "has no bytes for the 15 numbers"),
        (tensor(storage("0", 15, "IntStorage"), [3]), "tensor 'a' is of type int32: use weights of type float64, "),
    ],
)
def test_a_tensor_that_is_not_in_its_storage_is_refused(value, message, tmp_path):
    path = torch_file(tmp_path / "x.bin", pickle=pickled({"a": value}))
    with pytest.raises(ValueError, match=message):
        read_header(path)


def test_a_storage_that_is_described_in_two_ways_is_refused(tmp_path):
    values = {"a": tensor(PLACE, [3]), "b": tensor(storage("0", 30, "HalfStorage"), [3])}
    with pytest.raises(ValueError, match="describes the storage '0' in two ways: it is damaged"):
        read_header(torch_file(tmp_path / "x.bin", pickle=pickled(values)))


def test_any_stride_of_a_dimension_of_size_one_is_read(tmp_path):
    path = torch_file(tmp_path / "x.bin", pickle=pickled({"a": tensor(PLACE, [1, 5, 1], [2**61, 2, 99])}))
    np.testing.assert_array_equal(read_header(path)["a"].read(), ARRAYS["a"].ravel()[:10:2].reshape(1, 5, 1))


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_arrays_that_are_no_weights_are_refused_by_name(dtype, tmp_path):
    assert dtype in CLASSES
    path = torch_file(tmp_path / "x.bin", {"ids": np.ones(3, dtype)})
    with pytest.raises(ValueError, match=rf"tensor 'ids' is of type {dtype}: use weights of type"):
        read_header(path)


def test_damaged_numbers_are_found_by_their_checksum_when_they_are_read(tmp_path):
    content = torch_bytes()
    place = content.index(ARRAYS["c"].tobytes())
    (tmp_path / "x.bin").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    found = read_header(tmp_path / "x.bin")
    np.testing.assert_array_equal(found["a"].read(), ARRAYS["a"])
    with pytest.raises(ValueError, match=r"x.bin member archive/data/2 does not have its checksum: it is damaged"):
        found["c"].read((slice(1, 2), slice(0, 1), slice(0, 1)))


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path):
    path = torch_file(tmp_path / "x.bin")
    found = read_header(path)["c"]
    found.read()
    path.write_bytes(path.read_bytes()[: found.member.begin + 8])
    with pytest.raises(ValueError, match=r"x.bin ends within the tensor c: it is damaged"):
        found.read()


def test_members_over_each_other_are_refused(tmp_path):
    content = bytearray(torch_bytes({"a": ARRAYS["a"], "b": ARRAYS["a"]}))
    entries = [place for place in range(len(content)) if content[place : place + 4] == b"PK\x01\x02"]
    first, second = (entry for entry in entries if content[entry + 46 : entry + 59] == b"archive/data/")
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # the place of the local header
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"zip archive \(File name .* differ|where another one is"):
        read_header(tmp_path / "x.bin")


def test_a_directory_or_a_pickle_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = torch_file(tmp_path / "x.bin")
    monkeypatch.setattr(torch_zip, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match=r"has a pickle of .* bytes, more than any model needs"):
        read_header(path)
    monkeypatch.setattr(torch_zip, "MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(ValueError, match=r"zip archive \(its directory is too large\)"):
        read_header(path)


def test_float16_and_bfloat16_keep_their_bits(tmp_path):
    bits = np.arange(2**16, dtype=np.uint16)
    for dtype in (ml_dtypes.bfloat16, np.float16):
        for order in ("little", "big"):
            path = torch_file(tmp_path / "x.bin", {"x": bits.view(dtype)}, order=order)
            np.testing.assert_array_equal(read_header(path)["x"].read().view(np.uint16), bits)


def fuzzed(*options):
    """What the fuzz prints."""
    command = [sys.executable, "-m", "tests.checkpoints.fuzz_torch_zip", *options]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2_000:]
    return json.loads(finished.stdout)


@pytest.mark.slow
def test_damaged_and_hostile_files_run_nothing_and_are_refused_in_bounded_memory_and_time():
    counted = fuzzed("--damaged", "20000")
    assert counted["damaged"] == 20_000
    assert counted["hostile"] >= 200
    assert counted["hostile_read"] == 0
