"""Tests t5x_lite/conversion.py."""

import json

import numpy as np
import pytest

from t5x_lite import conversion
from t5x_lite.data.tokenizer import ByteTokenizer
from t5x_lite.interop.hf import HFCheckpoint, reader, save_weights
from t5x_lite.interop.hf_tokenizer import save_tokenizer
from t5x_lite.interop.tensor_files import read_header
from tests import tiny
from tests.test_pretrained import CFG, run_dir  # noqa: F401 - a fixture


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
    conversion.run(str(run_dir), str(tmp_path / "out"))
    checkpoint = HFCheckpoint(tmp_path / "out")
    assert checkpoint.config.emb_dim == CFG.emb_dim
    np.testing.assert_array_equal(checkpoint.model().embedding[...], tiny.model(CFG).embedding[...])
    err = capsys.readouterr().err
    assert "parameters in float32" in err
    assert "from_pretrained reads" in err


def test_hugging_faces_stays_as_it_is_and_may_become_bfloat16(model_dir, tmp_path):
    conversion.run(str(model_dir), str(tmp_path / "same"))
    conversion.run(str(model_dir), str(tmp_path / "half"), dtype="bfloat16")
    conversion.run(str(tmp_path / "half"), str(tmp_path / "again"))
    for name, array in weights(model_dir).items():
        np.testing.assert_array_equal(weights(tmp_path / "same")[name], array)
        np.testing.assert_array_equal(weights(tmp_path / "half")[name], weights(tmp_path / "again")[name])
    assert json.loads((tmp_path / "again" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_destination_with_something_in_it_is_left_alone(model_dir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ValueError, match="out exists already: name a new directory"):
        conversion.run(str(model_dir), str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_source_that_is_damaged_leaves_nothing(model_dir, tmp_path):
    path = model_dir / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is cut off"):
        conversion.run(str(model_dir), str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
