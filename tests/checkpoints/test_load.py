"""Tests t5x_lite/checkpoints/load.py"""

import subprocess
import sys

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.load import load, save_hf, trained_length
from t5x_lite.commands import convert
from t5x_lite.config import MeshConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer
from t5x_lite.parallel.mesh import make_mesh
from tests import tiny
from tests.checkpoints.test_run import CFG, run_dir  # noqa: F401 - a fixture


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^/\S+ is neither a run directory"):
        load(tmp_path)


def test_what_save_hf_writes_is_loaded_as_the_same_model(tmp_path):
    save_hf(tiny.model(CFG), ByteTokenizer(), tmp_path / "out")
    model, tokenizer, config, step, *_ = load(tmp_path / "out")
    assert (config.emb_dim, step, tokenizer.vocab_size) == (CFG.emb_dim, 0, 259)
    np.testing.assert_array_equal(tiny.logits(model, *tiny.batch()), tiny.logits(tiny.model(CFG), *tiny.batch()))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_step_of_a_model_that_is_no_run_is_refused(tmp_path):
    save_hf(tiny.model(CFG), ByteTokenizer(), tmp_path / "out")
    with pytest.raises(ValueError, match=r"out is not a run directory, so it has no checkpoint of step 3: leave out"):
        load(tmp_path / "out", step=3)


def test_the_trained_length_is_that_of_the_run_of_a_checkpoint(tmp_path):
    (tmp_path / "config.yaml").write_text("train: {inputs_length: 37}")
    assert trained_length(tmp_path / "checkpoints" / "20") == 37


def test_how_a_models_authors_decode_is_loaded_with_it(tmp_path):
    save_hf(tiny.model(CFG), ByteTokenizer(), tmp_path / "out")
    (tmp_path / "out" / "generation_config.json").write_text('{"num_beams": 3, "max_new_tokens": 9}')
    expected = GenerationConfig(num_beams=3, max_new_tokens=9, length_penalty=1.0, beam_variant="hf")
    assert load(tmp_path / "out").generation == expected


def test_a_model_is_loaded_onto_a_mesh(run_dir, tmp_path):  # noqa: F811
    mesh = make_mesh(MeshConfig(data=2, fsdp=4, tensor=1))
    save_hf(tiny.model(CFG), ByteTokenizer(), tmp_path / "out")
    for directory in (run_dir, tmp_path / "out"):
        embedding = load(directory, mesh).model.embedding[...]
        assert {shard.data.shape for shard in embedding.addressable_shards} == {(384, 5)}
        np.testing.assert_array_equal(embedding, tiny.model(CFG).embedding[...])


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    save_hf(tiny.model(tiny.T5_1_1), ByteTokenizer(), tmp_path / "out")
    with pytest.raises(ValueError, match="has vocab_size 128, but its tokenizer has 259 ids"):
        load(tmp_path / "out")


def test_a_model_that_cannot_be_exported_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="has no equivalent in Hugging Face"):
        save_hf(tiny.model(CFG), ByteAndSentinelTokenizer(100), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_t5x_is_loaded_with_a_tokenizer_that_is_given(run_dir, tmp_path):  # noqa: F811
    convert.run(str(run_dir), str(tmp_path / "t5x"), format="t5x")
    with pytest.raises(ValueError, match=r"t5x is a T5X checkpoint, which has no tokenizer"):
        load(tmp_path / "t5x")
    loaded = load(tmp_path / "t5x" / "checkpoint_12", tokenizer=ByteTokenizer(100))
    assert (loaded.step, loaded.config.emb_dim) == (12, CFG.emb_dim)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(loaded.model), jax.tree.leaves(tiny.model(CFG)))


def test_the_reader_of_a_format_is_imported_when_a_checkpoint_of_it_is_opened(tmp_path):
    save_hf(tiny.model(CFG), ByteTokenizer(), tmp_path / "out")
    code = (
        "import sys\n"
        "from t5x_lite.checkpoints.load import load, open_pretrained\n"
        "readers = ('hf', 't5x', 'native', 'run', 'orbax')\n"
        "imported = lambda: [name for name in readers if f't5x_lite.checkpoints.{name}' in sys.modules]\n"
        "assert imported() == [], imported()\n"
        f"open_pretrained({str(tmp_path / 'out')!r})\n"
        "assert imported() == ['hf'], imported()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_hf(tiny.model(CFG), ByteTokenizer(), "~/a model")
    assert (tmp_path / "a model" / "config.json").is_file()
    assert load("~/a model").config == load(tmp_path / "a model").config
    assert trained_length("~/a model") == trained_length(tmp_path / "a model")
