"""Tests t5x_lite/commands/convert.py"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.checkpoints import native
from t5x_lite.checkpoints.hf.tokenizer import save_tokenizer
from t5x_lite.checkpoints.hf.weights import save_weights
from t5x_lite.checkpoints.load import load
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.checkpoints.safetensors import read_header
from t5x_lite.checkpoints.t5x.model import T5XModel
from t5x_lite.checkpoints.weights import LazyModel, reader
from t5x_lite.commands import convert
from t5x_lite.config import OptimizerConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.model.architectures import Architecture, abstract
from t5x_lite.model.decoder import Decoder
from t5x_lite.optim import make_optimizer
from t5x_lite.parallel.mesh import parameter_axes
from tests import tiny
from tests.checkpoints.layouts import model_of, open_hf
from tests.checkpoints.test_run import CFG, run_dir  # noqa: F401 - a fixture


@pytest.fixture
def model_dir(tmp_path):
    """A model directory of Hugging Face's, with ByT5's tokenizer."""
    directory = tmp_path / "source"
    directory.mkdir()
    save_weights(directory, CFG, reader(tiny.model(CFG)), dtype=np.dtype(np.float32))
    save_tokenizer(ByteTokenizer(), directory)
    return directory


def weights(directory):
    return {name: tensor.read() for name, tensor in read_header(directory / "model.safetensors").items()}


def test_a_run_becomes_a_directory_of_hugging_face(run_dir, tmp_path, capsys):  # noqa: F811
    convert.run(str(run_dir), str(tmp_path / "out"))
    checkpoint = open_hf(tmp_path / "out")
    assert checkpoint.config.emb_dim == CFG.emb_dim
    np.testing.assert_array_equal(model_of(checkpoint).embedding[...], tiny.model(CFG).embedding[...])
    err = capsys.readouterr().err
    assert "parameters in float32" in err
    assert "load it with transformers.AutoModelForSeq2SeqLM.from_pretrained" in err


def test_hugging_faces_stays_as_it_is_and_may_become_bfloat16(model_dir, tmp_path):
    convert.run(str(model_dir), str(tmp_path / "same"))
    convert.run(str(model_dir), str(tmp_path / "half"), dtype="bfloat16")
    convert.run(str(tmp_path / "half"), str(tmp_path / "again"))
    for name, array in weights(model_dir).items():
        np.testing.assert_array_equal(weights(tmp_path / "same")[name], array)
        np.testing.assert_array_equal(weights(tmp_path / "half")[name], weights(tmp_path / "again")[name])
    assert json.loads((tmp_path / "again" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_destination_with_something_in_it_is_left_alone(model_dir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ValueError, match="out exists already: name a new directory"):
        convert.run(str(model_dir), str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_source_that_is_damaged_leaves_nothing(model_dir, tmp_path):
    path = model_dir / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="it is truncated"):
        convert.run(str(model_dir), str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_every_form_leads_back_to_the_same_bytes(model_dir, tmp_path, capsys):
    convert.run(str(model_dir), str(tmp_path / "own"), format="t5x-lite")
    convert.run(str(tmp_path / "own"), str(tmp_path / "t5x"), format="t5x")
    convert.run(str(tmp_path / "t5x"), str(tmp_path / "own2"), format="t5x-lite", tokenizer="bytes")
    convert.run(str(tmp_path / "own2"), str(tmp_path / "again"))
    for name, array in weights(model_dir).items():
        np.testing.assert_array_equal(weights(tmp_path / "again")[name], array)
    err = capsys.readouterr().err
    assert "own holds the model: load it with t5x_lite.load" in err
    assert "t5x holds the model: load it with T5X's Checkpointer" in err


def test_a_run_of_adafactor_takes_its_state_to_t5x(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("{}")
    ByteTokenizer(100).save(run)
    tx = make_optimizer(OptimizerConfig(beta1=0.9, clip_norm=1.0), 10, parameter_axes(abstract(CFG)))
    model = tiny.model(CFG)
    state = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3), tx.init(model))
    checkpoints = Checkpoints(run / "checkpoints", keep=1)
    checkpoints.save(5, {"model": model, "optimizer": state}, {"model": dataclasses.asdict(CFG)})
    checkpoints.close()
    convert.run(str(run), str(tmp_path / "t5x"), format="t5x")
    found = T5XModel(tmp_path / "t5x")
    assert found.step == 5
    for name, slots in found.all_slots().items():
        assert (slots["v"] == 3).all(), name
        assert (slots["m"] == 3).all(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "t5x", "dtype": "bfloat16"}, r"--dtype is bfloat16, but T5X stores parameters in float32"),
        ({"tokenizer": "nowhere.model"}, r"nowhere.model does not exist"),
    ],
)
def test_what_a_form_cannot_have_is_refused(options, message, model_dir, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        convert.run(str(model_dir), str(tmp_path / "out"), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_checkpoint_of_t5x_needs_a_tokenizer_for_hugging_face(model_dir, tmp_path):
    convert.run(str(model_dir), str(tmp_path / "t5x"), format="t5x")
    with pytest.raises(ValueError, match=r"is a T5X checkpoint, which has no tokenizer: give one"):
        convert.run(str(tmp_path / "t5x"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["hf", "t5x"])
def test_a_model_that_the_others_have_not_is_kept_in_our_form(format, tmp_path):
    directory = tmp_path / "decoder"
    directory.mkdir()
    ByteTokenizer(100).save(directory)
    kind = Architecture("causal_lm")
    model = LazyModel(CFG, kind, None, 0, np.dtype(np.float32), reader(tiny.drawn(Decoder, CFG)))
    native.save_weights(directory, model, dtype=model.dtype)
    with pytest.raises(ValueError, match=rf"is a causal_lm, but --format {format} supports only encoder-decoders"):
        convert.run(str(directory), str(tmp_path / "out"), format=format)
    convert.run(str(directory), str(tmp_path / "out"), format="t5x-lite", dtype="bfloat16")
    assert load(tmp_path / "out").architecture == kind


def test_the_state_of_another_optimizer_is_left_out_and_that_is_said(run_dir, tmp_path, capsys):  # noqa: F811
    convert.run(str(run_dir), str(tmp_path / "t5x"), format="t5x")
    assert "The optimizer state is left out: T5X supports only Adafactor's" in capsys.readouterr().err
    assert not T5XModel(tmp_path / "t5x").has_optimizer


def test_a_source_is_not_overwritten_but_may_hold_the_result(model_dir, tmp_path):
    (tmp_path / "link").symlink_to(model_dir)
    before = {path: path.read_bytes() for path in model_dir.iterdir()}
    for destination in (model_dir, tmp_path / "link", model_dir / ".." / "source", model_dir.parent):
        with pytest.raises(ValueError, match=r"exists already: name a new directory, so that nothing is overwritten"):
            convert.run(str(model_dir), str(destination))
    assert {path: path.read_bytes() for path in model_dir.iterdir()} == before
    convert.run(str(model_dir), str(model_dir / "inside"), format="t5x-lite")
    load(model_dir / "inside")
