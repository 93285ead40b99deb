"""Tests t5x_lite/checkpoints/run.py"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.checkpoints.load import load
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.checkpoints.run import open_checkpoint
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers import file_checksums
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer
from t5x_lite.model.architectures import Architecture
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384, remat=("query",))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """As much of a run directory as loading needs."""
    path = tmp_path_factory.mktemp("run")
    (path / "config.yaml").write_text("{}")
    ByteTokenizer(100).save(path)
    checkpoints = Checkpoints(path / "checkpoints", keep=1)
    items = {"model": tiny.model(CFG), "optimizer": {"moment": jnp.ones(3)}}
    checkpoints.save(12, items, {"model": dataclasses.asdict(CFG)})
    checkpoints.close()
    return path


def test_a_run_directory_gives_model_tokenizer_and_config(run_dir):
    model, tokenizer, config, step, architecture, generation, *_ = load(run_dir)
    assert (config, step, tokenizer.vocab_size, architecture) == (CFG, 12, 259, Architecture())
    assert generation == GenerationConfig()
    np.testing.assert_array_equal(tiny.logits(model, *tiny.batch()), tiny.logits(tiny.model(CFG), *tiny.batch()))


def test_an_older_checkpoint_is_opened_by_its_step_or_its_path(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    ByteTokenizer(100).save(tmp_path)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (5, 12):
        model = jax.tree.map(lambda leaf: leaf + step, tiny.model(CFG))  # noqa: B023 - used at once
        checkpoints.save(
            step, {"model": model, "optimizer": {"moment": jnp.ones(3)}}, {"model": dataclasses.asdict(CFG)}
        )
    checkpoints.close()
    expected = tiny.model(CFG).embedding[...] + 5
    for older in (load(tmp_path, step=5), load(tmp_path / "checkpoints" / "5")):
        assert older.step == 5
        np.testing.assert_array_equal(older.model.embedding[...], expected)
    with pytest.raises(ValueError, match="has no checkpoint of step 6: use one of 5, 12"):
        load(tmp_path, step=6)


def test_a_run_without_a_checkpoint_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(ValueError, match=r"^/\S+ has no checkpoint yet"):
        load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_loading_leaves_a_checkpoint_that_is_being_written_alone(run_dir):
    under_way = run_dir / "checkpoints" / "13.orbax-checkpoint-tmp" / "model"
    under_way.mkdir(parents=True)
    assert load(run_dir).step == 12
    assert under_way.is_dir()


def test_a_tokenizer_that_is_given_takes_the_place_of_the_directorys_own(run_dir):
    tokenizer = ByteAndSentinelTokenizer(20)
    assert load(run_dir, tokenizer=tokenizer).tokenizer is tokenizer


def test_a_tokenizer_that_is_not_the_checkpoints_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    ByteTokenizer(100).save(tmp_path)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    meta = {"model": dataclasses.asdict(CFG), "tokenizer": file_checksums(tmp_path)}
    checkpoints.save(3, {"model": tiny.model(CFG)}, meta)
    checkpoints.close()
    assert open_checkpoint(tmp_path, None).step == 3
    ByteTokenizer(101).save(tmp_path)
    with pytest.raises(ValueError, match=r"vocabulary.json is not as it was when the checkpoint of step 3 was saved"):
        open_checkpoint(tmp_path, None)
    assert open_checkpoint(tmp_path, ByteTokenizer(100)).step == 3
