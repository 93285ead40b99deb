"""Tests t5x_lite/checkpoints/t5x/msgpack.py"""

import math
import pickle

import flax.serialization
import ml_dtypes
import msgpack
import numpy as np
import pytest

from t5x_lite.checkpoints.t5x.msgpack import MAX_LIST, parse
from tests.checkpoints.layouts import extension


def parsed(tree):
    return parse(memoryview(msgpack.packb(tree, default=extension)), "file")


def plain(value):
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, 127, -1, -32, "", "é" * 9, "x" * 31, b"", b"y" * 3, 0.5, -math.inf, [], {}]
    + [sign * 2**bits + more for bits in (7, 8, 15, 16, 31, 32, 62) for sign in (1, -1) for more in (-1, 0, 1)]
    + ["x" * 2**8, "x" * 2**16, b"y" * 2**8, b"y" * 2**16, list(range(15)), list(range(16)), 2**64 - 1, -(2**63)]
    + [{str(i): i for i in range(size)} for size in (15, 16, 2**16)],
    ids=lambda value: str(value)[:20],
)
def test_every_form_of_a_value_is_read_as_msgpack_reads_it(value):
    assert plain(parsed({"a": value, "b": 7})["a"]) == value


def test_a_single_precision_number_is_read():
    assert parse(memoryview(msgpack.packb({"a": 0.5}, use_single_float=True)), "file") == {"a": 0.5}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "uint8", ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 2), (7, 11, 13)])
def test_what_flax_writes_is_read(shape, dtype):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    content = flax.serialization.msgpack_serialize({"x": {"y": array}, "z": array.dtype.type(1)})
    read = parse(memoryview(content), "file")
    whole = read["x"]["y"].read()
    assert read["x"]["y"].shape == whole.shape == shape
    assert read["x"]["y"].dtype == whole.dtype == array.dtype
    np.testing.assert_array_equal(whole, array)
    assert read["z"].shape == ()
    assert isinstance(read["z"].read(), np.ndarray)
    assert read["z"].read() == 1


def test_an_array_that_flax_cut_is_joined(monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 28)
    array = np.arange(15.0).reshape(3, 5)
    read = parse(memoryview(flax.serialization.msgpack_serialize({"x": array})), "file")["x"]
    assert len(read.parts) == 5
    np.testing.assert_array_equal(read.read(), array)
    np.testing.assert_array_equal(read.read((slice(1, 2), slice(2, 5))), array[1:2, 2:5])


def test_an_array_is_a_view_until_it_is_read_and_a_copy_then():
    content = bytearray(msgpack.packb({"x": extension(np.arange(6.0))}))
    array = parse(memoryview(content), "file")["x"]
    before = array.read((slice(4, 6),))
    content[-8:] = np.float64(9).tobytes()
    assert array.read((slice(4, 6),)).tolist() == [4, 9]
    assert before.tolist() == [4, 5]
    assert before.flags.aligned


def test_a_part_is_refused_by_the_name_of_its_entry():
    with pytest.raises(ValueError, match=r"file entry a/b has shape \(2, 3\), which"):
        parsed({"a": {"b": np.zeros((2, 3))}})["a"]["b"].read((slice(0, 3), slice(None)))


def test_every_truncation_is_refused():
    content = msgpack.packb({"a": {"b": np.arange(6.0), "c": "text", "d": 2**40}, "e": [1, 0.5]}, default=extension)
    for size in range(len(content)):
        with pytest.raises(ValueError, match=r"file.* is not a complete file written by Flax"):
            parse(memoryview(content[:size]), "file")


def cut(**changes):
    fields = {"__msgpack_chunked_array__": True, "shape": {"0": 4}, "chunks": {"0": np.zeros(3), "1": np.zeros(1)}}
    return fields | changes


def array_of(*fields):
    return msgpack.ExtType(1, msgpack.packb(fields))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (array_of([2, 3], "float32", bytes(20)), "entry a .*shape \\[2, 3\\] and float32 has 20 bytes"),
        (array_of([2, 3], "float32", bytes(28)), "entry a .* has 28 bytes"),
        (array_of([2**40], "float32", b""), "entry a .* has 0 bytes"),
        (array_of([2**63], "float32", b""), "entry a claims the impossible shape"),
        (array_of([-1], "float32", b""), "entry a claims the impossible shape"),
        (array_of([1], "object", bytes(8)), "entry a has dtype 'object'"),
        (array_of([1], "float32", "text"), "not a shape, a dtype and bytes"),
        (array_of([1], "float32"), "not a shape, a dtype and bytes"),
        (msgpack.ExtType(1, msgpack.packb(3)), "Unexpected type header"),
        (msgpack.ExtType(1, msgpack.packb([[], "bool", b"1"]) + b"\x00"), "bool has 1 bytes"),
        (msgpack.ExtType(2, msgpack.packb([1.0, 2.0])), "extension type 2"),
        (cut(shape={"0": 5}), "do not add up"),
        (cut(shape={"0": 2**62}), "impossible shape"),
        (cut(shape={"1": 4}), "lacks its shape or its chunks"),
        (cut(shape=4), "lacks its shape or its chunks"),
        (cut(chunks={}), "has no chunks"),
        (cut(chunks={"0": np.zeros(3), "1": np.zeros(2, np.float32)}), "do not belong together"),
        (cut(chunks={"0": 3}), "do not belong together"),
        (list(range(MAX_LIST + 1)), "1025 exceeds max_array_len"),
    ],
)
def test_what_is_no_array_is_refused_by_the_name_of_its_entry(value, message):
    with pytest.raises(ValueError, match=message) as refused:
        parsed({"before": {"it": 1}, "a": value})
    assert str(refused.value).startswith("file entry a ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at byte 0: No more data"),
        (pickle.dumps({"a": 1}), "bytes follow its end"),
        (b"\x80\x00", "1 bytes follow"),
        (b"\x93\x01\x02\x03", "is not a dictionary"),
        (b"\xc1", "at byte 0: FormatError"),
        (b"\x81\x01\x02", "is not text"),
        (b"\x81\xa1\xff\x02", "at byte 1: 'utf-8' codec"),
        (b"\x82\xa1a\x01\xa1a\x02", "the name 'a' occurs twice"),
        (b"\xdf\xff\xff\xff\xff", "at byte 5: No more data"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "at byte 3: 4294967295 exceeds max_bin_len|No more data"),
        (b"\x81\xa1a" * 2_000, "deeper than 64"),
        (b"\x81\xa1a" + b"\x91" * 2_000, "at byte 3: too nested|StackError"),
        (b"\x81\xa1a\x91\x91\x01", "a list holds lists"),
    ],
)
def test_what_flax_did_not_write_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        parse(memoryview(content), "file")


def test_arrays_in_arrays_are_not_followed_without_end():
    value = b"\xc0"
    for _ in range(100):
        value = msgpack.packb(msgpack.ExtType(1, value))
    with pytest.raises(ValueError, match="Unexpected type header"):
        parse(memoryview(b"\x81\xa1a" + value), "file")


def test_a_file_of_more_values_than_memory_holds_is_refused(monkeypatch):
    monkeypatch.setattr("t5x_lite.checkpoints.t5x.msgpack.MAX_VALUES", 50)
    with pytest.raises(ValueError, match="it has more than 50 values"):
        parsed({str(i): None for i in range(51)})
