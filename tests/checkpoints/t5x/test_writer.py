"""Tests t5x_lite/checkpoints/t5x/writer.py"""

import json
import math
import os

import flax.serialization
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tensorstore as ts

from t5x_lite.checkpoints.t5x import writer
from t5x_lite.checkpoints.t5x.files import read_t5x
from t5x_lite.checkpoints.t5x.writer import chunk_shape, write_t5x

KERNEL = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
ARRAYS = {
    "target/decoder/wo/kernel": KERNEL,
    "target/token_embedder/embedding": np.arange(33).reshape(11, 3).astype(ml_dtypes.bfloat16),
    "state/param_states/decoder/wo/kernel/v": np.zeros(1, np.float32),
    "state/param_states/decoder/wo/kernel/m": np.zeros((0, 3), np.float32),
    "state/param_states/decoder/wo/scale": np.float32(0.5),
}


def test_what_is_written_is_read_back(tmp_path):
    path = write_t5x(tmp_path / "new" / "run", ARRAYS, 17)
    assert path == tmp_path / "new" / "run" / "checkpoint_17"
    checkpoint = read_t5x(path)
    assert checkpoint.step == 17
    assert set(checkpoint.arrays) == {*ARRAYS, "state/step"}
    for name, array in ARRAYS.items():
        read = checkpoint.arrays[name].read()
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    again = write_t5x(tmp_path, {name: array.read for name, array in checkpoint.arrays.items()}, 17)
    np.testing.assert_array_equal(read_t5x(again).arrays["target/decoder/wo/kernel"].read(), KERNEL)


def test_the_index_is_as_t5x_expects_it(tmp_path):
    path = write_t5x(tmp_path, ARRAYS, 17)
    index = flax.serialization.msgpack_restore((path / "checkpoint").read_bytes())
    assert index["version"] == 3
    assert set(index) == {"version", "optimizer"}
    assert set(index["optimizer"]) == {"target", "state"}
    step = index["optimizer"]["state"]["step"]
    assert step == 17
    assert step.dtype == np.int32
    assert index["optimizer"]["target"]["decoder"]["wo"]["kernel"] == {
        "driver": "zarr",
        "dtype": "float32",
        "kvstore": {"driver": "file", "path": "target.decoder.wo.kernel/"},
        "metadata": {"shape": [5, 7], "chunks": [5, 7], "compressor": {"id": "gzip", "level": 1}},
    }
    zarray = json.loads((path / "target.token_embedder.embedding" / ".zarray").read_text())
    assert zarray["dtype"] == "bfloat16"
    assert zarray["compressor"]["id"] == "gzip"


def test_the_index_leads_tensorstore_to_the_array_as_t5x_has_it_do(tmp_path):
    path = write_t5x(tmp_path, ARRAYS, 17)
    spec = flax.serialization.msgpack_restore((path / "checkpoint").read_bytes())["optimizer"]["target"]["decoder"][
        "wo"
    ]
    spec = spec["kernel"]
    # T5X leaves these out, so that how an array is cut may differ, and puts the directory before the path.
    del spec["metadata"]["chunks"], spec["metadata"]["compressor"]
    spec["kvstore"]["path"] = os.path.join(path, spec["kvstore"]["path"])
    np.testing.assert_array_equal(ts.open(ts.Spec(spec), open=True).result().read().result(), KERNEL)


def test_any_kind_of_array_may_be_given(tmp_path):
    arrays = {"target/a": jnp.arange(3.0), "target/b": lambda: jnp.ones((2,), jnp.bfloat16)}
    arrays["target/f"] = np.array(2.5, ">f4")
    arrays |= {"target/c": [1.5, 2.5], "target/d": np.arange(3, dtype=">f4"), "target/e": KERNEL.T}
    read = read_t5x(write_t5x(tmp_path, arrays, 0)).arrays
    assert read["target/b"].dtype == ml_dtypes.bfloat16
    assert read["target/c"].read().tolist() == [1.5, 2.5]
    assert read["target/d"].dtype == np.dtype("<f4")
    assert read["target/d"].read().tolist() == [0, 1, 2]
    assert read["target/f"].read() == 2.5
    np.testing.assert_array_equal(read["target/e"].read(), KERNEL.T)


def test_one_array_is_in_memory_at_a_time(tmp_path, monkeypatch):
    events = []
    write = writer._write_array
    monkeypatch.setattr(writer, "_write_array", lambda *args: (write(*args), events.append(f"wrote {args[1]}"))[0])

    def source(name):
        return lambda: (events.append(f"made {name}"), np.zeros(3))[1]

    write_t5x(tmp_path, {name: source(name) for name in ("target/a", "target/b")}, 3)
    assert events[1:] == ["made target/a", "wrote target/a", "made target/b", "wrote target/b"]


def test_a_large_array_is_cut_into_chunks_that_are_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 40)
    path = write_t5x(tmp_path, ARRAYS, 17)
    assert len(list((path / "target.decoder.wo.kernel").iterdir())) == 1 + 2 * 2 * 2
    np.testing.assert_array_equal(read_t5x(path).arrays["target/decoder/wo/kernel"].read(), KERNEL)


@pytest.mark.parametrize("shape", [(5,), (0, 3), (2**26 + 1,), (32_128, 4_096), (3, 5, 2**24), (12, 1_024, 10_240)])
def test_chunks_are_at_most_64_mib_and_hardly_smaller_than_need_be(shape):
    chunks = chunk_shape(shape, 4)
    assert all(1 <= cut <= max(size, 1) for cut, size in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * 4 <= 2**26
    assert math.prod(chunks) * 4 >= min(2**25, 4 * math.prod(shape)) * 0.99


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError("no memory left")

    with pytest.raises(RuntimeError, match="no memory left"):
        write_t5x(tmp_path, {"target/a": KERNEL, "target/b": fail}, 3)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "host")
    leftover = tmp_path / f".checkpoint_3.host.{os.getpid()}.tmp"
    leftover.mkdir()
    (leftover / "old").write_text("old")
    path = write_t5x(tmp_path, {"target/a": KERNEL}, 3)
    assert os.listdir(tmp_path) == ["checkpoint_3"]
    assert sorted(os.listdir(path)) == ["checkpoint", "target.a"]


def test_a_disk_that_cannot_be_written_is_an_os_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: no space left\nmore")

    monkeypatch.setattr(writer.ts, "open", full)
    with pytest.raises(
        OSError, match=r"cannot write target/a to .*: RESOURCE_EXHAUSTED: no space left. Free some space"
    ):
        write_t5x(tmp_path, {"target/a": KERNEL}, 3)
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_is_not_written_over(tmp_path):
    write_t5x(tmp_path, {"target/a": KERNEL}, 3)
    with pytest.raises(ValueError, match="checkpoint_3 exists already: remove it, or write to another directory"):
        write_t5x(tmp_path, {"target/b": KERNEL}, 3)
    assert set(read_t5x(tmp_path).arrays) == {"target/a", "state/step"}


@pytest.mark.parametrize("step", [-1, 2**31, 1.0, True, None, np.int32(3)])
def test_a_step_that_t5x_could_not_have_is_refused(tmp_path, step):
    with pytest.raises(ValueError, match="give a number of updates from 0 to 2,147,483,647"):
        write_t5x(tmp_path, {"target/a": KERNEL}, step)


def test_a_step_among_the_arrays_must_be_the_same(tmp_path):
    assert read_t5x(write_t5x(tmp_path, {"state/step": np.int32(3)}, 3)).step == 3
    with pytest.raises(ValueError, match="array state/step is 3, but step is 4"):
        write_t5x(tmp_path, {"state/step": np.int32(3)}, 4)


@pytest.mark.parametrize(
    "path", ["target", "params/a", "target/", "target//a", "target/../a", "/target/a", "target/a.b"]
)
def test_a_path_that_t5x_does_not_have_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match="is not a T5X path: use one like target/decoder"):
        write_t5x(tmp_path / "new", {path: KERNEL}, 3)
    assert not (tmp_path / "new").exists()


def test_an_array_below_another_is_refused(tmp_path):
    with pytest.raises(ValueError, match="arrays target/a and target/a/b cannot both exist"):
        write_t5x(tmp_path, {"target/a/b": KERNEL, "target/a": KERNEL}, 3)


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(2, "V4"), np.zeros(2, complex), np.zeros(2, np.uint16)])
def test_types_that_cannot_be_read_again_are_refused(tmp_path, array):
    with pytest.raises(ValueError, match=r"array target/a has dtype .*: give one of float16, "):
        write_t5x(tmp_path, {"target/a": array}, 3)
