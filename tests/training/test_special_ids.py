"""Trains from a model with MADLAD-400's ids, and gives it back."""

import dataclasses
import json

import numpy as np
import pytest
import yaml

from t5x_lite.checkpoints.hf.weights import save_weights
from t5x_lite.checkpoints.load import load
from t5x_lite.checkpoints.weights import reader
from t5x_lite.commands import convert
from t5x_lite.config import ModelOptions, TaskConfig, TokenizerConfig
from t5x_lite.config.run import RunConfig
from t5x_lite.evaluation.api import evaluate
from t5x_lite.inference.api import generate
from t5x_lite.training.loop import train
from tests import runs, tiny
from tests.data.tokenizers.test_sentencepiece import TEXTS, foreign_model

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided:UserWarning")  # when read back
IDS = {"pad_id": 1, "eos_id": 2, "start_id": 0}


@pytest.fixture(scope="module")
def madlad(tmp_path_factory):
    """A Hugging Face directory whose vocabulary names no padding."""
    directory = tmp_path_factory.mktemp("madlad") / "model"
    directory.mkdir()
    model = foreign_model(directory.parent / "pieces", unk_id=0, bos_id=1, eos_id=2)
    (directory / "spiece.model").write_bytes(model.read_bytes())
    fields = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "<s>", "eos_token": "</s>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))
    cfg = dataclasses.replace(tiny.T5_1_1, **IDS)
    save_weights(directory, cfg, reader(tiny.model(cfg)), dtype=np.dtype(np.float32))
    return directory


def config(tmp_path, madlad) -> RunConfig:
    lines = [json.dumps({"a": text.replace("fox", "\u4e2d"), "b": text[:9]}) for text in TEXTS * 8]  # unknown: id 0
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    task = TaskConfig(source=str(tmp_path / "pairs.jsonl"), inputs="{a}", targets="\u4e2d {b}", eval_percent=20.0)
    cfg = runs.config(tmp_path / "run", num_steps=2, targets_length=24)
    return dataclasses.replace(cfg, task=task, model=ModelOptions(pretrained=str(madlad)))


@pytest.mark.slow
def test_a_run_takes_the_ids_of_its_pretrained_model(tmp_path, madlad):
    cfg = config(tmp_path, madlad)
    assert np.isfinite(train(cfg)["eval/loss"])
    run = load(cfg.run_dir)
    assert {name: getattr(run.config, name) for name in IDS} == IDS
    assert run.tokenizer.special_ids == (1, 2, 0)
    assert np.isfinite(evaluate(cfg.run_dir, cfg)["eval/loss"])
    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["task"]["tokenizer"]
    assert TokenizerConfig(**recorded) == TokenizerConfig(path=str(madlad))
    convert.run(cfg.run_dir, str(tmp_path / "out"))
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert [fields[name] for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id")] == [1, 2, 0]
    again = load(tmp_path / "out")
    assert {name: getattr(again.config, name) for name in IDS} == IDS
    assert generate(again, TEXTS[:2], max_new_tokens=5) == generate(run, TEXTS[:2], max_new_tokens=5)
