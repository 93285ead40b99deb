"""Tests t5x_lite/checkpoints/hf/weights.py against Hugging Face's models: `golden/`, by make_golden_hf.py."""

import functools
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from t5x_lite.checkpoints.hf import weights
from t5x_lite.checkpoints.hf.weights import save_weights
from t5x_lite.checkpoints.param_names import rows
from t5x_lite.checkpoints.safetensors import read_header, write_tensors
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import placed, reader
from t5x_lite.config import MeshConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.converters import autoregressive_inputs
from t5x_lite.inference.loop import generate_ids
from t5x_lite.model.architectures import ENCODER_DECODER
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.parallel.param_paths import named_leaves
from tests.checkpoints.layouts import files_of, model_of, open_hf
from tests.inference.toys import params_and_spec

GOLDEN = pathlib.Path(__file__).parent / "golden"
FAMILIES = sorted(path.name for path in GOLDEN.iterdir())
# mT5 and ByT5 have the forms of T5 1.1, with other sizes and names; UL2 is between T5 and T5 1.1.
COMPILED = [pytest.param(name, marks=pytest.mark.slow) if name in ("mt5", "byt5", "ul2") else name for name in FAMILIES]


def exported(checkpoint, directory, shard_bytes=10**9):
    directory.mkdir(exist_ok=True)
    with files_of(shard_bytes):
        save_weights(directory, checkpoint.config, checkpoint.read, dtype=np.dtype(np.float32))
    return directory


def stored(directory):
    """All arrays in a directory by name."""
    tensors = open_weights(directory)
    return {name: tensor.read() for name, tensor in tensors.items()}


@functools.cache
def computed(family, directory=GOLDEN):
    """(expected arrays, ours: encoded, logits, loss, gradients by Hugging Face's names), of one compiled call."""
    expected = dict(np.load(directory / family / "expected.npz"))
    checkpoint = open_hf(directory / family)
    model = model_of(checkpoint)
    inputs_BS, targets_BT = expected["inputs_BS"], expected["targets_BT"]
    cfg = checkpoint.config
    weights_BT = jnp.asarray(targets_BT != cfg.pad_id, jnp.float32)

    def loss(model):
        encoded_BSD = model.encode(inputs_BS)
        logits_BTV = model(inputs_BS, autoregressive_inputs(targets_BT, bos_id=cfg.start_id))
        losses_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, targets_BT)
        return jnp.sum(losses_BT * weights_BT) / jnp.sum(weights_BT), (encoded_BSD, logits_BTV)

    (value, (encoded_BSD, logits_BTV)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(model)
    leaves = named_leaves(grads)
    by_name = {}
    for row in rows(checkpoint.config):
        array = np.asarray(leaves[row.ours])
        for layer in range(len(array)) if row.has_layers else (0,):
            by_name[row.hf.format(layer=layer)] = row.to_hf(array[layer] if row.has_layers else array)
    expected["is_token_BS"] = inputs_BS != cfg.pad_id
    return expected, {"encoded": encoded_BSD, "logits": logits_BTV, "loss": value, "gradients": by_name}


def assert_same_numbers(expected, ours):
    is_token_BS = expected["is_token_BS"]
    np.testing.assert_allclose(ours["encoded"][is_token_BS], expected["encoded_BSD"][is_token_BS], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours["logits"], expected["logits_BTV"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours["loss"], expected["loss"], rtol=1e-5)
    gradients = {name.removeprefix("gradient/"): a for name, a in expected.items() if name.startswith("gradient/")}
    assert gradients.keys() == ours["gradients"].keys()
    for name, gradient in gradients.items():
        scale = np.linalg.norm(gradient)
        assert np.linalg.norm(ours["gradients"][name] - gradient) < 1e-3 * scale, name


def assert_same_tokens(family, num_beams, golden=GOLDEN):
    """Asserts that greedy choice, or beams by the rules of transformers, decode what it decoded."""
    expected = np.load(golden / family / "expected.npz")
    tokens_BT = expected["greedy_BT" if num_beams == 1 else "beam_BT"][:, 1:]  # behind the start token
    config = GenerationConfig(
        max_new_tokens=tokens_BT.shape[1], num_beams=num_beams, length_penalty=1.0, beam_variant="hf"
    )
    model, inputs_BS = model_of(open_hf(golden / family)), expected["inputs_BS"].astype(np.int32)
    params, spec = params_and_spec([config] * len(tokens_BT), num_steps=config.max_new_tokens, model=model.cfg)
    generated = generate_ids(model, ENCODER_DECODER, inputs_BS, params, spec)
    np.testing.assert_array_equal(generated.tokens_BKT[:, 0], tokens_BT)


@pytest.mark.parametrize("family", COMPILED)
def test_logits_loss_and_every_gradient_are_hugging_faces(family):
    assert_same_numbers(*computed(family))


@pytest.mark.parametrize("family", COMPILED)
@pytest.mark.parametrize("num_beams", [1, 4])
def test_greedy_and_beam_search_find_hugging_faces_tokens(family, num_beams):
    assert_same_tokens(family, num_beams)


@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_is_bit_identical(family, tmp_path):
    checkpoint = open_hf(GOLDEN / family)
    through_the_model = tmp_path / "model"
    through_the_model.mkdir()
    save_weights(through_the_model, checkpoint.config, reader(model_of(checkpoint)), dtype=np.dtype(np.float32))
    for directory in (through_the_model, exported(checkpoint, tmp_path / "files", shard_bytes=4_000)):
        assert open_hf(directory).config == checkpoint.config
        before, after = stored(GOLDEN / family), stored(directory)
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_many_files_are_each_within_their_size_and_listed(tmp_path):
    directory = exported(open_hf(GOLDEN / "t5_1_1"), tmp_path / "out", shard_bytes=4_000)
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    files = sorted(directory.glob("*.safetensors"))
    assert len(files) > 3
    assert set(index["weight_map"].values()) == {path.name for path in files}
    for path in files:
        tensors = read_header(path)
        assert {index["weight_map"][name] for name in tensors} == {path.name}
        assert len(tensors) == 1 or sum(tensor.num_bytes for tensor in tensors.values()) <= 4_000
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in stored(GOLDEN / "t5_1_1").values())


def test_large_arrays_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "PART_SIZE", 50)
    directory = exported(open_hf(GOLDEN / "t5_1_1"), tmp_path / "out")
    for name, array in stored(GOLDEN / "t5_1_1").items():
        np.testing.assert_array_equal(stored(directory)[name], array)


def test_bfloat16_weights_are_read_as_they_are(tmp_path):
    checkpoint = open_hf(GOLDEN / "t5")
    save_weights(tmp_path, checkpoint.config, checkpoint.read, dtype=np.dtype(ml_dtypes.bfloat16))
    again = open_hf(tmp_path)
    assert again.dtype == ml_dtypes.bfloat16
    embedding = stored(GOLDEN / "t5")["shared.weight"].astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(model_of(again).embedding[...], embedding)


def test_each_device_reads_its_own_part(tmp_path):
    sizes = {"d_model": 16, "num_heads": 4, "d_ff": 20, "vocab_size": 64}
    fields = json.loads((GOLDEN / "t5_1_1" / "config.json").read_text()) | sizes
    directory = exported_random(fields, tmp_path)
    checkpoint = open_hf(directory)
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    cut, whole = model_of(checkpoint, placed(checkpoint.config, mesh)), model_of(checkpoint)
    jax.tree.map(np.testing.assert_array_equal, cut, whole)
    query = cut.encoder.blocks.attention.query[...]
    assert {shard.data.shape for shard in query.addressable_shards} == {(3, 4, 2, 5)}


def exported_random(fields, directory):
    """A directory of random weights for a config."""
    (directory / "config.json").write_text(json.dumps(fields))
    cfg = weights.read_config(directory, has_lm_head=True)
    shapes = named_leaves(placed(cfg, None))
    arrays = {name: np.random.default_rng(0).normal(size=leaf.shape) for name, leaf in shapes.items()}
    save_weights(directory, cfg, lambda name, index: arrays[name][index], dtype=np.dtype(np.float32))
    return directory


@pytest.fixture
def copied(tmp_path):
    """A directory of one file, to be harmed."""
    return pathlib.Path(shutil.copytree(GOLDEN / "t5_1_1", tmp_path / "copied"))


@pytest.fixture
def sharded(tmp_path):
    """A directory of several files, to be harmed."""
    return exported(open_hf(GOLDEN / "t5_1_1"), tmp_path / "sharded", shard_bytes=4_000)


def with_index(directory, change):
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


def rewritten(directory, change):
    """Changes the arrays of a directory of one file."""
    arrays = stored(directory)
    change(arrays)
    shapes = {name: array.shape for name, array in arrays.items()}
    write_tensors(directory / "model.safetensors", shapes, lambda n: iter([arrays[n]]), np.dtype(np.float32))


def test_a_truncated_file_is_refused(copied):
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"model.safetensors has .* it is truncated, or"):
        open_hf(copied)


def test_a_missing_and_an_unknown_tensor_are_named(copied):
    rewritten(copied, lambda arrays: arrays.update({"extra.weight": arrays.pop("encoder.final_layer_norm.weight")}))
    with pytest.raises(ValueError, match=r"it lacks encoder.final_layer_norm.weight and has unexpected extra.weight"):
        open_hf(copied)


def test_what_no_model_reads_may_be_there(copied):
    table = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    rewritten(copied, lambda arrays: arrays.update({table: np.ones((32, 3))}))
    before = stored(GOLDEN / "t5_1_1")["shared.weight"]
    np.testing.assert_array_equal(model_of(open_hf(copied)).embedding[...], before)


COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


@pytest.mark.parametrize("names", [COPIES[:1], COPIES[1:2], COPIES[2:], COPIES[:2], COPIES[1:], COPIES])
@pytest.mark.parametrize("keeps_shared", [True, False])
@pytest.mark.parametrize("tie_word_embeddings", [True, False])
def test_a_tied_model_stays_tied_whatever_its_table_is_called(names, keeps_shared, tie_word_embeddings, tmp_path):
    directory = pathlib.Path(shutil.copytree(GOLDEN / "t5", tmp_path / "copied"))
    fields = json.loads((directory / "config.json").read_text()) | {"tie_word_embeddings": tie_word_embeddings}
    (directory / "config.json").write_text(json.dumps(fields))
    before, model = opened(directory)
    rewritten(directory, lambda arrays: rename(arrays, names, keeps_shared))
    after = open_hf(directory)
    assert after.config == before.config
    assert after.config.tie_embeddings
    jax.tree.map(np.testing.assert_array_equal, model_of(after), model)


def opened(directory):
    """A checkpoint and its model, read before its files are changed."""
    checkpoint = open_hf(directory)
    return checkpoint, model_of(checkpoint)


def rename(arrays, names, keeps_shared):
    """Puts copies of the embedding under the names, with or without its usual one."""
    table = arrays["shared.weight"] if keeps_shared else arrays.pop("shared.weight")
    arrays.update(dict.fromkeys(names, table))


def test_an_untied_model_may_have_its_embedding_in_the_decoder_alone(copied):
    before, model = opened(copied)
    rewritten(copied, lambda arrays: arrays.update({COPIES[1]: arrays.pop("shared.weight")}))
    after = open_hf(copied)
    assert after.config == before.config
    assert not after.config.tie_embeddings
    jax.tree.map(np.testing.assert_array_equal, model_of(after), model)


@pytest.mark.parametrize("change", [lambda array: array + np.eye(61, 12, k=-50), lambda array: array[:60]])
def test_an_embedding_that_is_no_copy_is_refused(copied, change):
    rewritten(copied, lambda arrays: arrays.update({"decoder.embed_tokens.weight": change(arrays["shared.weight"])}))
    with pytest.raises(ValueError, match=r"has decoder.embed_tokens.weight different from shared.weight"):
        open_hf(copied)


def test_an_embedding_that_contradicts_the_one_in_use_is_reported(copied, capsys):
    _, model = opened(copied)
    rewritten(copied, lambda arrays: contradict(arrays, COPIES[:2]))
    jax.tree.map(np.testing.assert_array_equal, model_of(open_hf(copied)), model)
    assert "shared.weight different from encoder.embed_tokens.weight" in capsys.readouterr().err


def contradict(arrays, names):
    arrays.update(dict.fromkeys(names, arrays["shared.weight"]) | {"shared.weight": arrays["shared.weight"] + 1})


def test_a_config_that_contradicts_its_weights_is_refused(copied):
    fields = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(fields | {"d_ff": 15}))
    with pytest.raises(ValueError, match=r"wi_0.weight of shape \[14, 12\], not \[15, 12\]"):
        open_hf(copied)
    (copied / "config.json").write_text(json.dumps(fields | {"num_layers": 4}))
    with pytest.raises(ValueError, match=r"it lacks encoder.block.3.layer"):
        open_hf(copied)
