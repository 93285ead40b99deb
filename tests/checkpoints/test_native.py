"""Tests t5x_lite/checkpoints/native.py"""

import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest

from t5x_lite.checkpoints import native
from t5x_lite.checkpoints.native import architecture_from_json, model_config_from_json, save_weights
from t5x_lite.checkpoints.safetensors import write_tensors
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import LazyModel, placed, reader
from t5x_lite.config import MeshConfig
from t5x_lite.config.architectures import ARCHITECTURES, Architecture
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh
from tests import tiny
from tests.checkpoints.layouts import files_of, model_of

CFG = tiny.T5_1_1
FLOAT32 = np.dtype(np.float32)
architecture = tiny.architecture


def drawn(name):
    return tiny.drawn_by_name(name, CFG)


def lazy(cfg, architecture, read, step):
    return LazyModel(cfg, architecture, None, step, FLOAT32, read)


def saved(directory, name="encoder_decoder", dtype=FLOAT32, **options):
    directory.mkdir()
    save_weights(directory, lazy(CFG, architecture(name), reader(drawn(name)), 7), dtype=dtype, **options)
    return directory


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_comes_back_as_it_was(name, tmp_path):
    found = native.open_checkpoint(saved(tmp_path / "a", name), ByteTokenizer())
    assert (found.config, found.architecture, found.step, found.dtype) == (CFG, architecture(name), 7, FLOAT32)
    model = model_of(found, placed(CFG, None, found.architecture))
    assert type(model) is type(drawn(name))
    jax.tree.map(np.testing.assert_array_equal, model, drawn(name))


def test_it_is_written_in_parts_and_in_files_and_read_onto_a_mesh(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "PART_SIZE", 50)
    told = []
    with files_of(3_000):
        directory = saved(tmp_path / "a", progress=told.append)
    assert len(list(directory.glob("*.safetensors"))) > 3
    assert sum(told) == sum(leaf.nbytes for leaf in jax.tree.leaves(drawn("encoder_decoder")))
    mesh = make_mesh(MeshConfig(data=2, fsdp=4, tensor=1))
    model = model_of(native.open_checkpoint(directory, ByteTokenizer()), placed(CFG, mesh))
    jax.tree.map(np.testing.assert_array_equal, model, drawn("encoder_decoder"))


def test_numbers_may_be_kept_in_bfloat16(tmp_path):
    found = native.open_checkpoint(saved(tmp_path / "a", dtype=np.dtype(ml_dtypes.bfloat16)), ByteTokenizer())
    assert found.dtype == ml_dtypes.bfloat16
    embedding = np.asarray(drawn("encoder_decoder").embedding[...])
    rounded = embedding.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(model_of(found).embedding[...], rounded)


def test_a_model_config_survives_json():
    assert model_config_from_json(json.loads(json.dumps(dataclasses.asdict(CFG)))) == CFG


def described(directory, **fields):
    """Changes model.json; a field with dots is one in an object in it."""
    path = directory / "model.json"
    description = json.loads(path.read_text())
    for name, value in fields.items():
        *parents, last = name.split("__")
        node = description
        for parent in parents:
            node = node[parent]
        node[last] = value
    path.write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, r"does not describe a model \(its format is 'other'"),
        ({"step": -1}, r"its step is -1"),
        ({"step": True}, r"its step is True"),
        ({"model": {}}, r"model.json describes a model of .* parameters or more, but its weights have 24,152"),
        ({"model": [1]}, r"does not describe a model"),
        ({"model__emb_dim": 2**63}, r"does not describe a model \(its emb_dim is 9223372036854775808\)"),
        ({"model__emb_dim": -3}, r"model.emb_dim is -3"),
        ({"model__emb_dim": "20"}, r"does not describe a model"),
        ({"model__emb_dim": 21}, r"of shape \[.*20.*\], not \[.*21"),
        ({"model__num_encoder_layers": 3}, r"not \[3, "),
        ({"model__tie_embeddings": True}, r"has unexpected logits_kernel"),
        (
            {"model__scale_logits": "no"},
            r"does not describe a model \(model\.scale_logits is 'no': use true or false or null\)",
        ),
        ({"model__scale_logits": 0}, r"model\.scale_logits is 0"),
        ({"model__remat": 5}, r"its remat is 5"),
        ({"model__remat": None}, r"model.remat is null"),
        ({"model__offload": [1]}, r"its offload is \(1,\)"),
        ({"model__offload": "full"}, r"offload is .*'full'"),
        ({"model__tie_embeddings": None}, r"model.tie_embeddings is null"),
        ({"model__dropout_rate": "0"}, r"does not describe a model"),
        ({"model__unknown": 1}, r"does not describe a model \(.*unexpected keyword"),
        ({"architecture__name": "gpt"}, r"unknown architecture 'gpt'"),
        ({"architecture__name": "sequence_classifier"}, r"cannot have the labels \[\]"),
        ({"architecture__name": "token_classifier", "architecture__labels": "ab"}, "its architecture is "),
        ({"architecture__labels": ["a", "b"]}, r"encoder_decoder cannot have the labels \['a', 'b'\]"),
        ({"architecture": None}, r"does not describe a model"),
    ],
)
def test_a_damaged_or_contradicting_description_is_one_error(change, message, tmp_path):
    directory = saved(tmp_path / "a")
    described(directory, **change)
    with pytest.raises(ValueError, match=message):
        native.open_checkpoint(directory, ByteTokenizer())


@pytest.mark.parametrize(
    "change", [{"scale_logits": True}, {"scale_logits": None}, {"remat": ["query", "key"]}, {"dropout_rate": 0}]
)
def test_every_type_that_a_field_takes_is_read(change, tmp_path):
    directory = saved(tmp_path / "a")
    described(directory, **{f"model__{name}": value for name, value in change.items()})
    (name, value), *_ = change.items()
    found = getattr(native.open_checkpoint(directory, ByteTokenizer()).config, name)
    assert found == (tuple(value) if isinstance(value, list) else value)


def test_a_missing_and_an_unknown_array_are_named(tmp_path):
    directory = saved(tmp_path / "a")
    arrays = {name: tensor.read() for name, tensor in open_weights(directory).items()}
    arrays["mine"] = arrays.pop("embedding")
    shapes = {name: array.shape for name, array in arrays.items()}
    write_tensors(directory / "model.safetensors", shapes, lambda name: iter([arrays[name]]), FLOAT32)
    with pytest.raises(ValueError, match=r"does not match its model.json: it lacks embedding and has unexpected mine"):
        native.open_checkpoint(directory, ByteTokenizer())


def test_every_published_form_is_described(tmp_path):
    for number, cfg in enumerate(tiny.FAMILY.values()):
        directory = tmp_path / str(number)
        directory.mkdir()
        save_weights(directory, lazy(cfg, Architecture(), reader(tiny.drawn(T5, cfg)), 0), dtype=FLOAT32)
        assert native.open_checkpoint(directory, ByteTokenizer()).config == cfg


@pytest.mark.parametrize(
    ("fields", "keeps_eos"), [({}, False), ({"keeps_eos": True}, True), ({"keeps_eos": False}, False)]
)
def test_a_prefix_lm_stored_before_it_kept_the_eos_of_its_inputs_does_not_keep_it(fields, keeps_eos):
    stored = {"name": "prefix_lm", "labels": []} | fields
    assert architecture_from_json(stored) == Architecture("prefix_lm", keeps_eos=keeps_eos)
    with pytest.raises(ValueError, match="its architecture is"):
        architecture_from_json(stored | {"keeps_eos": 1})
