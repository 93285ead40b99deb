"""Tests t5x_lite/checkpoints/t5x/files.py"""

import gzip
import io
import json
import os
import pickle
import shutil

import ml_dtypes
import msgpack
import numpy as np
import orbax.checkpoint as ocp
import pytest

from t5x_lite.checkpoints.t5x.files import read_t5x
from tests.checkpoints.layouts import extension, spec, write_index, write_zarr
from tests.paths import SHARED

SAMPLES = SHARED / "data" / "t5x_ckpt"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="T5X's own checkpoints are not beside the repository")

random = np.random.default_rng(0)
KERNEL = random.normal(size=(5, 7)).astype(np.float32)
EMBEDDING = random.normal(size=(11, 3)).astype(ml_dtypes.bfloat16)
ROW = random.normal(size=7).astype(np.float32)
STEP = np.int32(13)
ARRAYS = {
    "target/decoder/mlp/wo/kernel": KERNEL,
    "target/token_embedder/embedding": EMBEDDING,
    "state/param_states/decoder/mlp/wo/kernel/v_row": ROW,
    "state/step": STEP,
}


def train_state(leaf):
    """T5X's tree, with what `leaf` makes of a name and an array."""
    return {
        "target": {
            "decoder": {"mlp": {"wo": {"kernel": leaf("target.decoder.mlp.wo.kernel", KERNEL)}}},
            "token_embedder": {"embedding": leaf("target.token_embedder.embedding", EMBEDDING)},
        },
        "state": {
            "step": STEP,
            "param_states": {
                "decoder": {
                    "mlp": {"wo": {"kernel": {"v_row": leaf("state.param_states.decoder.mlp.wo.kernel.v_row", ROW)}}}
                },
                "frozen": None,
            },
        },
    }


def check(checkpoint):
    assert checkpoint.step == 13
    assert set(checkpoint.arrays) == set(ARRAYS)
    for path, array in ARRAYS.items():
        lazy = checkpoint.arrays[path]
        assert lazy.shape == array.shape
        assert lazy.dtype == lazy.read().dtype == array.dtype
        np.testing.assert_array_equal(lazy.read(), array)
    part = slice(1, 4), slice(2, None)
    np.testing.assert_array_equal(checkpoint.arrays["target/decoder/mlp/wo/kernel"].read(part), KERNEL[part])


def inline(_, array):
    return extension(array)


@pytest.mark.parametrize("top", [{"version": 3}, {"version": 2}, None])
def test_a_single_file_is_read(tmp_path, top):
    state = train_state(inline)
    tree = state if top is None else top | {"optimizer": state}
    check(read_t5x(str(write_index(tmp_path / "a.checkpoint_13", tree))))


def test_a_gzipped_file_is_read(tmp_path):
    path = write_index(tmp_path / "plain", {"version": 3, "optimizer": train_state(inline)})
    (tmp_path / "a.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    check(read_t5x(tmp_path / "a.gz"))


@pytest.fixture
def directory(tmp_path):
    """T5X's own layout."""
    root = tmp_path / "run" / "checkpoint_13"

    def beside(name, array):
        chunks = [2, 3] if array.ndim == 2 else None
        write_zarr(root / name, array, chunks)
        return spec(name, array, chunks)

    write_index(root / "checkpoint", {"version": 3, "optimizer": train_state(beside)})
    return root


def test_a_directory_is_read_by_any_of_its_names(directory):
    for path in (directory, directory / "checkpoint", directory.parent):
        check(read_t5x(path))


def test_a_location_as_tensorstore_wrote_it_before_is_read(directory):
    rewrite(directory, lambda leaf: leaf["kvstore"] | {"driver": "gcs", "bucket": "t5x-dummy-bucket"}, key="kvstore")
    rewrite(directory, lambda leaf: leaf["kvstore"].pop("path").rstrip("/"), key="path")
    check(read_t5x(directory))


@pytest.mark.parametrize("optimizer", ["_optimizer", "optimizer", None])
def test_a_directory_of_an_older_orbax_is_read(tmp_path, optimizer):
    root = tmp_path / "13"

    def placeholder(name, array):
        name = f"{optimizer}.{name}" if optimizer else name
        write_zarr(root / name, array, compressor="zstd")
        return f"PLACEHOLDER://{name}"

    state = train_state(placeholder)
    write_index(root / "checkpoint", {optimizer: state, "flax_mutables": None} if optimizer else state)
    check(read_t5x(root))


@pytest.mark.parametrize("use_ocdbt", [True, False])
@pytest.mark.parametrize("item", ["", "state", "default"])
def test_a_directory_of_a_newer_orbax_is_read(tmp_path, use_ocdbt, item):
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=use_ocdbt)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(tmp_path / "run" / "13" / item, args=ocp.args.PyTreeSave(train_state(lambda _, array: array)))
    check(read_t5x(tmp_path / "run"))


def test_what_a_newer_orbax_wrote_in_zarr_3_is_refused(tmp_path):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_zarr3=True)) as checkpointer:
        checkpointer.save(tmp_path / "13", args=ocp.args.PyTreeSave({"target": KERNEL}))
    with pytest.raises(ValueError, match=r"entry target has no .zarray, .*: write it with use_zarr3=False"):
        read_t5x(tmp_path / "13")


def test_the_newest_whole_checkpoint_of_a_directory_is_taken(tmp_path):
    for step in (9, 1_000, 200):
        write_index(tmp_path / f"checkpoint_{step}" / "checkpoint", {"state": {"step": extension(np.int32(step))}})
    (tmp_path / "checkpoint_3000").mkdir()
    (tmp_path / "checkpoint_4000.tmp-17").mkdir()
    assert read_t5x(tmp_path).step == 1_000
    write_index(tmp_path / "checkpoint_2000", {"state": {"step": extension(np.int32(2_000))}})
    assert read_t5x(tmp_path).step == 2_000


def test_scalars_of_python_are_arrays_too_and_a_step_may_be_missing(tmp_path):
    tree = {"target": {"a": 3, "b": 0.5, "c": True, "d": None, "e": {}}}
    checkpoint = read_t5x(write_index(tmp_path / "a", tree))
    assert checkpoint.step is None
    assert {path: array.read().item() for path, array in checkpoint.arrays.items()} == {
        "target/a": 3,
        "target/b": 0.5,
        "target/c": True,
    }


@needs_samples
def test_the_single_file_of_t5x_is_read():
    checkpoint = read_t5x(SAMPLES / "test_t5_tiny.checkpoint_0.gz")
    assert checkpoint.step == 0
    assert len(checkpoint.arrays) == 261
    embedding = checkpoint.arrays["target/token_embedder/embedding"]
    assert embedding.shape == (32_128, 8)
    np.testing.assert_allclose(embedding.read().std(), 1.0, atol=0.01)  # as T5 begins
    assert checkpoint.arrays["target/encoder/layers_1/mlp/wi_0/kernel"].shape == (8, 16)
    assert checkpoint.arrays["target/decoder/relpos_bias/rel_embedding"].shape == (4, 32)
    assert checkpoint.arrays["state/param_states/decoder/logits_dense/kernel/v"].shape == (8, 32_128)


def check_tiny(checkpoint):
    assert checkpoint.step == 1
    values = {path.removeprefix("state/param_states/"): array for path, array in checkpoint.arrays.items()}
    np.testing.assert_array_equal(values["bias"].read(), np.ones(5, np.float32))
    kernel = values["kernel"].read()
    assert kernel.shape == (10, 5)
    assert kernel.dtype == np.float64
    np.testing.assert_allclose(kernel[0, :2], [0.15038408, 0.70071733], rtol=1e-7)
    np.testing.assert_array_equal(values["step"].read(), 1)


@needs_samples
def test_the_directory_of_t5x_is_read_though_its_hidden_files_are_lost():
    check_tiny(read_t5x(SAMPLES / "tiny_t5"))


@needs_samples
def test_the_directory_that_t5x_wrote_with_orbax_is_read_once_its_hidden_files_are_back(tmp_path):
    shutil.copytree(SAMPLES / "tiny_orbax", tmp_path / "a", copy_function=shutil.copyfile)
    for folder in (tmp_path / "a").rglob("*"):
        folder.chmod(0o755)
    with pytest.raises(ValueError, match=r"entry state/.* has no .zarray, .*: copy it again with its hidden files"):
        read_t5x(tmp_path / "a")
    zarray = {
        "zarr_format": 2,
        "compressor": {"id": "zstd", "level": 1},
        "fill_value": None,
        "filters": None,
        "order": "C",
    }
    shapes = {"state.step": ("<i4", []), "state.param_states.step": ("<i4", [])}
    shapes |= {"state.param_states.bias": ("<f4", [5]), "state.param_states.kernel": ("<f8", [10, 5])}
    for name, (dtype, shape) in shapes.items():
        content = zarray | {"dtype": dtype, "shape": shape, "chunks": shape}
        (tmp_path / "a" / "1" / f"_optimizer.{name}" / ".zarray").write_text(json.dumps(content))
    check_tiny(read_t5x(tmp_path / "a"))


def rewrite(root, change, key=None):
    """Changes the spec of the kernel in the index of a directory."""
    path = root / "checkpoint"
    tree = msgpack.unpackb(path.read_bytes())
    parent = tree["optimizer"]["target"]["decoder"]["mlp"]["wo"]
    if key is None:
        parent["kernel"] = change(parent["kernel"])
    else:
        parent["kernel"][key] = change(parent["kernel"])
    write_index(path, tree)


@pytest.mark.parametrize(
    "place",
    [
        "/etc",
        "../other",
        "..",
        ".",
        "",
        "a\0b",
        "target.token_embedder.embedding",
        "./target.decoder.mlp.wo.kernel",
        "/tmp/target.decoder.mlp.wo.kernel",
        "../checkpoint_13/target.decoder.mlp.wo.kernel/",
        "x" * 5_000,
    ],
)
def test_an_index_may_not_say_where_an_array_is(directory, place):
    for change in (
        lambda leaf: leaf | {"kvstore": {"driver": "file", "path": place}},
        lambda _: f"PLACEHOLDER://{place}",
    ):
        rewrite(directory, change)
        with pytest.raises(
            ValueError, match=r"entry target/decoder/mlp/wo/kernel claims to be in .*: only the directory"
        ):
            read_t5x(directory)


@pytest.mark.parametrize(
    "change",
    [
        lambda leaf: leaf | {"driver": "json"},
        lambda leaf: leaf | {"driver": ["zarr"]},
        lambda leaf: leaf | {"kvstore": "file:///etc/"},
        lambda leaf: leaf | {"kvstore": {"driver": "http", "base_url": "http://localhost", "path": 3}},
        lambda leaf: {"driver": "cast", "dtype": "int8", "base": leaf},
        lambda _: "/etc/passwd",
        lambda _: b"bytes",
        lambda _: [1, 2],
    ],
)
def test_what_is_no_array_is_refused_by_its_name(directory, change):
    rewrite(directory, change)
    with pytest.raises(ValueError, match=r"entry target/decoder/mlp/wo/kernel.* (is not an array but|claims to be in)"):
        read_t5x(directory)


def test_no_word_of_an_index_but_shapes_reaches_tensorstore(directory):
    rewrite(directory, lambda leaf: leaf | {"kvstore": leaf["kvstore"] | {"driver": "http", "base_url": "http://x"}})
    rewrite(directory, lambda leaf: leaf | {"context": {"cache_pool": {"total_bytes_limit": 2**60}}, "transform": 1})
    check(read_t5x(directory))


def test_an_array_beside_a_single_file_is_refused(tmp_path):
    path = write_index(tmp_path / "a.checkpoint", train_state(spec))
    with pytest.raises(ValueError, match=r"entry .* is stored beside the file: name the directory that holds both"):
        read_t5x(path)


def test_a_directory_that_lost_an_array_is_refused(directory):
    shutil.rmtree(directory / "target.decoder.mlp.wo.kernel")
    with pytest.raises(ValueError, match=r"checkpoint_13 has no directory target.decoder.mlp.wo.kernel"):
        read_t5x(directory)


def test_an_index_that_is_a_link_outside_is_refused(directory):
    os.rename(directory / "checkpoint", directory.parent / "elsewhere")
    (directory / "checkpoint").symlink_to(directory.parent / "elsewhere")
    with pytest.raises(ValueError, match="is a link that leads out of"):
        read_t5x(directory)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "a\0b", "a\nb"])
def test_names_that_no_array_has_are_refused(tmp_path, name):
    for tree in ({"target": {name: {"x": extension(ROW)}}}, {"target": {"x": {name: extension(ROW)}}}):
        with pytest.raises(ValueError, match=r"has an entry with the invalid name .*"):
            read_t5x(write_index(tmp_path / "a", tree))


def test_an_array_of_two_places_is_refused(tmp_path):
    tree = {"optimizer": {"target": {"x": extension(ROW)}}, "target": {"x": extension(ROW)}}
    with pytest.raises(ValueError, match="two entries target/x"):
        read_t5x(write_index(tmp_path / "a", tree))


def npz():
    file = io.BytesIO()
    np.savez(file, target=ROW)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: download it again"),
        (gzip.compress(b"", mtime=0), "is empty: download it again"),
        (gzip.compress(bytes(5_000), mtime=0)[:-9], "is not a complete gzip file"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "is not a complete gzip file"),
        (npz(), r"is a zip file, such as NumPy's .npz"),
        (pickle.dumps({"target": ROW}, protocol=2), "is a pickle, which can run arbitrary code and is never loaded"),
        (pickle.dumps({"target": ROW}), "is a pickle, which can run arbitrary code and is never loaded"),
        (b'model_checkpoint_path: "model.ckpt-1"\n', "is the index of a TensorFlow checkpoint"),
        (b"some text", "is not a complete file written by Flax"),
        (msgpack.packb({"target": 1})[:-1], "is not a complete file written by Flax"),
        (msgpack.packb({}), "has no `target` or `state`"),
        (msgpack.packb({"params": {"x": 1}}), "has no `target` or `state`"),
        (msgpack.packb({"version": 1, "optimizer": {"target": 1}}), "has version 1"),
        (msgpack.packb({"version": "3", "optimizer": {"target": 1}}), "has version '3'"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}.* {message}"):
        read_t5x(path)


@pytest.mark.parametrize("step", [np.int32(-1), np.float32(3), np.zeros(2, np.int32)])
def test_a_step_that_is_no_number_of_updates_is_refused(tmp_path, step):
    with pytest.raises(ValueError, match="entry state/step is not a number of updates"):
        read_t5x(write_index(tmp_path / "a", {"state": {"step": extension(step)}}))


def test_a_gzipped_file_that_becomes_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("t5x_lite.checkpoints.t5x.files.MAX_GUNZIPPED", 2**16)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(2**22)))
    with pytest.raises(ValueError, match=r"grows more than 64-fold .*: if you trust it, gunzip it"):
        read_t5x(tmp_path / "a.gz")


def test_where_nothing_is_to_be_read_the_user_is_told_what_to_name(tmp_path):
    with pytest.raises(ValueError, match="nope does not exist: name a T5X checkpoint"):
        read_t5x(tmp_path / "nope")
    (tmp_path / "checkpoint_3000").mkdir()
    with pytest.raises(ValueError, match="holds no T5X checkpoint, nor does a checkpoint_STEP in it: name the"):
        read_t5x(tmp_path)


@pytest.fixture
def database(tmp_path):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "13", args=ocp.args.PyTreeSave(train_state(lambda _, array: array)))
    return tmp_path / "13"


def leaf(names, kind="np.ndarray"):
    return {"key_metadata": [{"key": name} for name in names], "value_metadata": {"value_type": kind}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "_METADATA is not an Orbax index"),
        ("[]", "_METADATA is not an Orbax index"),
        ("[" * 50_000, "_METADATA is not an Orbax index"),
        ({"x": {"key_metadata": 3}}, "_METADATA is not an Orbax index"),
        ({"x": leaf([])}, "has an entry with the invalid name ''"),
        ({"x": leaf(["target", ".."])}, r"has an entry with the invalid name '\.\.'"),
        ({"x": leaf(["target", "\ud800"])}, "has an entry with the invalid name"),
        ({"x": leaf(["target", "x"], "string")}, "entry target/x is not an array"),
        ({"x": leaf(["target", "x"])}, r"entry target/x has no \.zarray"),
    ],
)
def test_a_damaged_tree_of_orbax_is_refused(database, content, message):
    text = content if isinstance(content, str) else json.dumps({"tree_metadata": content})
    (database / "_METADATA").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_t5x(database)


def test_a_damaged_database_is_refused(database):
    for path in database.rglob("d/*"):
        path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"13.* cannot be read .*: if it is damaged, copy the complete"):
        read_t5x(database)


def test_a_database_that_links_outside_or_to_a_pipe_is_refused(database):
    path = next(database.rglob("d/*"))
    os.rename(path, database.parent / "elsewhere")
    path.symlink_to(database.parent / "elsewhere")
    with pytest.raises(ValueError, match="is a link that leads out of"):
        read_t5x(database)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is not a file: copy the complete checkpoint again"):
        read_t5x(database)
