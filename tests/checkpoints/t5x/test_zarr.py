"""Tests t5x_lite/checkpoints/t5x/zarr.py"""

import gzip
import json
import os

import ml_dtypes
import numpy as np
import pytest

from t5x_lite.checkpoints.t5x.zarr import Folders, open_zarr
from tests.checkpoints.layouts import write_zarr

ARRAY = np.arange(77, dtype=np.float32).reshape(7, 11)
CHUNKS = [3, 5]


@pytest.fixture
def root(tmp_path):
    write_zarr(tmp_path / "x" / "a.b", ARRAY, CHUNKS)
    return tmp_path / "x"


def opened(root, declared=None):
    return open_zarr(Folders(root), "a.b", declared, "here")


def change(root, **fields):
    path = root / "a.b" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("compressor", ["gzip", "zlib", "zstd", None])
@pytest.mark.parametrize("dtype", ["float32", ml_dtypes.bfloat16, "int32", "float64", "bool", "int8"])
def test_an_array_is_read_whole(tmp_path, compressor, dtype):
    array = (ARRAY % 100).astype(dtype)
    write_zarr(tmp_path / "a.b", array, CHUNKS, compressor)
    read = opened(tmp_path)
    whole = read.read()
    assert read.shape == whole.shape == (7, 11)
    assert read.dtype == whole.dtype == array.dtype
    np.testing.assert_array_equal(whole, array)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 5, 7)])
def test_an_array_may_have_any_number_of_dimensions_and_be_empty(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    write_zarr(tmp_path / "a.b", array)
    read = opened(tmp_path).read()
    assert isinstance(read, np.ndarray)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("rows", [(0, 7), (2, 4), (6, 7), (3, 3)])
@pytest.mark.parametrize("columns", [(0, 11), (4, 11), (0, 1)])
def test_a_part_is_the_slice_of_the_whole(root, rows, columns):
    part = slice(*rows), slice(*columns)
    np.testing.assert_array_equal(opened(root).read(part), ARRAY[part])


def test_a_part_needs_only_its_chunks(root):
    array = opened(root)
    (root / "a.b" / "2.2").write_bytes(b"damaged")
    np.testing.assert_array_equal(array.read((slice(0, 6), slice(None))), ARRAY[:6])
    with pytest.raises(ValueError, match=r"here cannot be read .*: if it is damaged, copy the complete"):
        array.read()


def test_the_index_stands_in_for_a_hidden_file_that_copying_lost(root):
    (root / "a.b" / ".zarray").unlink()
    declared = {"shape": [7, 11], "chunks": CHUNKS, "dtype": "float32", "compressor": {"id": "gzip", "level": 1}}
    np.testing.assert_array_equal(opened(root, declared).read(), ARRAY)
    with pytest.raises(ValueError, match=r"here has no .zarray, the file with its shape: copy it again with"):
        opened(root)


@pytest.mark.parametrize("shape", [[11, 7], [7], None, 7])
def test_an_index_that_says_another_shape_is_refused(root, shape):
    with pytest.raises(ValueError, match=r"here has shape \[7, 11\] in its .zarray but another in the index"):
        opened(root, {"shape": shape})


def test_a_missing_chunk_is_named_and_not_taken_for_zeros(root):
    (root / "a.b" / "1.2").unlink()
    with pytest.raises(ValueError, match=r"here lacks the chunk a.b/1.2: copy the complete checkpoint again"):
        opened(root)


@pytest.mark.parametrize("shape", [[2**63, 11], [-7, 11], [7, 2.5], "7", None, [2**49, 2**49]])
def test_an_impossible_shape_is_refused(root, shape):
    change(root, shape=shape)
    with pytest.raises(ValueError, match="here claims the impossible shape"):
        opened(root)


def test_a_shape_of_more_chunks_than_memory_holds_is_refused_at_the_first_that_is_missing(root):
    change(root, shape=[2**40, 11], chunks=[1, 11])
    with pytest.raises(ValueError, match=r"here lacks the chunk a.b/3.0"):
        opened(root)


@pytest.mark.parametrize("chunks", [[0, 5], [-3, 5], [3], [3, 5, 1], [8, 5], [7, 12], [2**62, 5], None, [3.0, 5]])
def test_impossible_chunks_are_refused(root, chunks):
    change(root, chunks=chunks)
    with pytest.raises(ValueError, match="here claims the impossible"):
        opened(root)


def test_more_than_can_come_of_the_bytes_that_are_stored_is_refused(root):
    change(root, shape=[2**24, 2**20], chunks=[2**24, 2**20])
    with pytest.raises(ValueError, match=r"claims 70,368,744,177,664 bytes, more than its [0-9]{3,4} stored"):
        opened(root)


def test_a_chunk_that_becomes_too_much_or_too_little_is_refused(root):
    for num_bytes in (59, 61, 2**24):
        (root / "a.b" / "0.0").write_bytes(gzip.compress(bytes(num_bytes)))
        with pytest.raises(ValueError, match="here cannot be read"):
            opened(root).read()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "|O"}, "dtype '|O': convert it"),
        ({"dtype": "|V4"}, "dtype '|V4': convert it"),
        ({"dtype": ">f4"}, "dtype '>f4': convert it"),
        ({"dtype": [["a", "<f4"]]}, "dtype .*: convert it"),
        ({"dtype": "<u2"}, "dtype uint16, which"),
        ({"compressor": {"id": "blosc"}}, "compressed by .*blosc.*: only zlib, gzip, zstd"),
        ({"compressor": {"id": ["gzip"]}}, "compressed by"),
        ({"compressor": {}}, "compressed by"),
        ({"compressor": "gzip"}, "compressed by"),
        ({"filters": [{"id": "delta"}]}, "filters"),
        ({"dimension_separator": "/"}, "dimension_separator '/'"),
        ({"zarr_format": 3}, "zarr_format '3'"),
        ({"order": "K"}, "order 'K'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(root, fields, message):
    change(root, **fields)
    with pytest.raises(ValueError, match=f"here (has|is) {message}"):
        opened(root)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 50_000, b"[]", b"null", b"\xff", b" " * 70_000 + b"{}"])
def test_a_damaged_zarray_is_refused(root, content):
    (root / "a.b" / ".zarray").write_bytes(content)
    with pytest.raises(ValueError, match=r"here has a .zarray that is not a JSON object"):
        opened(root)


def test_zarr_3_is_refused_with_what_to_do(root):
    os.rename(root / "a.b" / ".zarray", root / "a.b" / "zarr.json")
    with pytest.raises(ValueError, match=r"here has no .zarray, .*: write it with use_zarr3=False"):
        opened(root)


@pytest.mark.parametrize("name", ["..", "../y", "/etc", "a.b/../../y", "nope", "é" * 200, "", ".", "a\0b"])
def test_only_a_folder_beside_the_index_is_opened(root, name):
    write_zarr(root.parent / "y", ARRAY)
    with pytest.raises(ValueError, match=r"has no directory|leads out of"):
        open_zarr(Folders(root), name, None, "here")


@pytest.mark.parametrize("linked", ["", "0.0", ".zarray"])
def test_a_link_that_leads_outside_is_refused(root, linked):
    inside, outside = root / "a.b" / linked, root.parent / "elsewhere"
    os.rename(inside, outside)
    inside.symlink_to(outside)
    with pytest.raises(
        ValueError, match=r"is a link that leads out of .*: if you trust it, copy the checkpoint with `cp"
    ):
        opened(root)


@pytest.mark.parametrize("linked", ["", "0.0", ".zarray"])
def test_a_link_that_stays_inside_is_followed(root, linked):
    inside, other = root / "a.b" / linked, root / "other"
    os.rename(inside, other)
    inside.symlink_to(other)
    np.testing.assert_array_equal(opened(root).read(), ARRAY)


def test_pipes_and_circles_of_links_are_not_waited_for(root):
    chunk = root / "a.b" / "0.0"
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(ValueError, match=r"lacks the chunk a.b/0.0"):
        opened(root)
    chunk.unlink()
    chunk.symlink_to(chunk)
    with pytest.raises(ValueError, match=r"lacks the chunk a.b/0.0"):
        opened(root)
