"""Tests t5x_lite/training/starting_point.py"""

import dataclasses
from unittest.mock import ANY

import pytest

from t5x_lite import cli
from t5x_lite.checkpoints import load
from t5x_lite.checkpoints.load import open_pretrained, save_hf
from t5x_lite.commands import train
from t5x_lite.config import ModelOptions, OptimizerConfig, TokenizerConfig, TrainConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.data.tokenizers import build_tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model
from t5x_lite.files.yaml_text import dump_yaml
from t5x_lite.training.resolve import resolve_run
from t5x_lite.training.starting_point import tokenizer_config
from tests import runs, tiny
from tests.paths import ROOT

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model of Hugging Face's form, with ByT5's tokenizer."""
    path = tmp_path_factory.mktemp("pretrained") / "tiny"
    save_hf(tiny.model(CFG), ByteTokenizer(), path)
    return path


def config(run_dir, directory, tokenizer):
    cfg = runs.config(run_dir)
    task = dataclasses.replace(cfg.task, tokenizer=tokenizer)
    return dataclasses.replace(cfg, task=task, model=ModelOptions(pretrained=str(directory)))


def test_the_tokenizer_is_the_pretrained_models(tmp_path, directory):
    run = resolve_run(config(tmp_path / "run", directory, TokenizerConfig()))
    assert run.config.task.tokenizer == run.tasks.tokenizer == TokenizerConfig(kind="bytes", num_sentinels=100)
    assert run.pretrained.config.emb_dim == CFG.emb_dim
    model = train_sentencepiece_model(["a few words and a few more"] * 9, vocab_size=24, num_sentinels=7)
    (tmp_path / "x.model").write_bytes(b"another")
    (tmp_path / "y.model").write_bytes(model)
    found = tokenizer_config(SentencePieceTokenizer(model, 7), tmp_path)
    assert found == TokenizerConfig(path=str(tmp_path / "y.model"), num_sentinels=7)


def test_the_tokenizer_may_be_beside_the_encoder(tmp_path):
    encoder, beside = tmp_path / "text_encoder", tmp_path / "tokenizer"
    model = train_sentencepiece_model(["a few words and a few more"] * 9, vocab_size=24, num_sentinels=7)
    save_hf(tiny.drawn_by_name("encoder", CFG), SentencePieceTokenizer(model, 7), encoder)
    beside.mkdir()
    for name in ("spiece.model", "tokenizer_config.json"):
        (encoder / name).rename(beside / name)
    for path in encoder.glob("tokenizer*"):
        path.unlink()
    run = resolve_run(config(tmp_path / "run", encoder, TokenizerConfig()))
    assert run.config.task.tokenizer.path == str(beside / "spiece.model")


def test_another_tokenizer_is_refused(tmp_path, directory):
    with pytest.raises(ValueError, match=r"task.tokenizer is set, but model.pretrained .*tiny has its own tokenizer"):
        resolve_run(config(tmp_path / "run", directory, TokenizerConfig(kind="bytes_and_sentinels")))


def test_a_model_without_a_tokenizer_needs_one_in_the_config(tmp_path, directory, monkeypatch):
    bare = dataclasses.replace(open_pretrained(directory), tokenizer=None)
    monkeypatch.setattr(load, "open_pretrained", lambda path: bare)
    run = resolve_run(config(tmp_path / "run", directory, TokenizerConfig(kind="bytes")))
    assert (run.tasks.tokenizer.kind, run.pretrained) == ("bytes", bare)
    with pytest.raises(ValueError, match=r"model.pretrained .*tiny has no tokenizer: set task.tokenizer.path to its"):
        resolve_run(config(tmp_path / "run", directory, TokenizerConfig()))


def test_added_tokens_extend_the_pretrained_model_and_are_recorded_with_its_tokenizer(tmp_path, directory):
    cfg = config(tmp_path / "run", directory, TokenizerConfig())
    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, added_tokens=("<hl>", "\n")))
    run = resolve_run(cfg)
    own = TokenizerConfig(kind="bytes", num_sentinels=100, added_tokens=("<hl>", "\n"))
    assert run.tasks.tokenizer == own
    assert run.pretrained.config.vocab_size == 512
    assert build_tokenizer(own, ()).encode("<hl>\n") == run.pretrained.tokenizer.encode("<hl>\n") == [384, 385]
    again = dataclasses.replace(cfg, task=dataclasses.replace(cfg.task, tokenizer=own))  # as config.yaml records it
    assert resolve_run(again).tasks.tokenizer == own
    other = dataclasses.replace(own, added_tokens=("<hl>",))
    with pytest.raises(ValueError, match=r"task.tokenizer is set, but model.pretrained .* has its own tokenizer"):
        resolve_run(dataclasses.replace(cfg, task=dataclasses.replace(cfg.task, tokenizer=other)))


def test_an_optimizer_state_has_no_rows_for_added_tokens(tmp_path, directory):
    cfg = config(tmp_path / "run", directory, TokenizerConfig())
    model = dataclasses.replace(cfg.model, added_tokens=("<hl>",))
    cfg = dataclasses.replace(cfg, model=model, optimizer=dataclasses.replace(cfg.optimizer, from_pretrained=True))
    with pytest.raises(ValueError, match=r"optimizer.from_pretrained is true, but model.added_tokens adds rows"):
        resolve_run(cfg)


def test_a_tokenizer_with_added_tokens_is_given_by_its_directory(tmp_path):
    model = train_sentencepiece_model(["a few words and a few more"] * 9, vocab_size=24, num_sentinels=7)
    tokenizer = SentencePieceTokenizer(model, 7, added_tokens=[AddedToken(text="<hl>", lstrip=True)])
    save_hf(tiny.model(tiny.T5_1_1), tokenizer, tmp_path / "hf")
    run = resolve_run(config(tmp_path / "run", tmp_path / "hf", TokenizerConfig()))
    assert run.tasks.tokenizer == TokenizerConfig(path=str(tmp_path / "hf"))
    assert build_tokenizer(run.tasks.tokenizer, ()).added_tokens == tokenizer.added_tokens


def test_the_defaults_of_fine_tuning_are_told_for_what_a_new_run_does_not_give(tmp_path, directory):
    given = config(tmp_path, directory, TokenizerConfig())
    assert resolve_run(given).notes == ("Defaults of fine-tuning, for what is not given: model.dropout_rate 0.1",)
    bare = dataclasses.replace(given, train=TrainConfig(num_steps=8), optimizer=OptimizerConfig())
    run = resolve_run(bare)
    assert run.notes == (
        "Defaults of fine-tuning, for what is not given: train.batch_size 16, optimizer.learning_rate 0.001, "
        "optimizer.schedule constant, optimizer.warmup_steps 0, model.dropout_rate 0.1",
    )
    (tmp_path / "config.yaml").write_text(dump_yaml(as_plain(run.config)))
    assert resolve_run(bare) == run._replace(notes=(), pretrained=ANY)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "finetune").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_for_fine_tuning_takes_a_model_as_it_is(path, tmp_path, directory, monkeypatch):
    found = []
    monkeypatch.setattr(train, "run", lambda cfg, **options: found.append(resolve_run(cfg)))
    given = ["--model.pretrained", str(directory), "--run_dir", str(tmp_path / "run")]
    cli.main(["train", "--config", str(path), *given])
    (run,) = found
    assert "optimizer.learning_rate 0.001, optimizer.schedule constant, optimizer.warmup_steps 0" in run.notes[0]
    assert (run.config.train.batch_size, run.config.model.dropout_rate) == (16, 0.1)
    assert run.pretrained.config.emb_dim == CFG.emb_dim
