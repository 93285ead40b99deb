"""Tests t5x_lite/commands/compile/compiling.py for the eight fake devices there are."""

import dataclasses

import pytest

from t5x_lite.commands.compile.compiling import compile_ahead
from t5x_lite.config import MeshConfig, ModelOptions, TaskConfig, TokenizerConfig
from t5x_lite.training.resolve import resolve_run
from tests import runs


def config(tmp_path, **changes):
    """A run whose text and vocabulary are not there."""
    tokenizer = TokenizerConfig(path=str(tmp_path / "spiece.model"), vocab_size=250)
    cfg = runs.config(tmp_path, mesh=MeshConfig(data=2, fsdp=4))
    return dataclasses.replace(cfg, task=TaskConfig(source="nowhere.jsonl", tokenizer=tokenizer), **changes)


@pytest.mark.slow
def test_a_run_is_compiled_without_its_text_its_vocabulary_or_its_parameters(tmp_path, capsys):
    compiled = compile_ahead(resolve_run(config(tmp_path)), "train", None)
    assert compiled.program.shapes.model.embedding.shape == (256, 16)
    assert compiled.features["encoder_input_tokens"] == (32,)
    assert compiled.executable.memory_analysis().argument_size_in_bytes > 0
    assert compiled.compile_seconds > 0
    assert not list(tmp_path.iterdir())
    assert "spiece.model does not exist" in capsys.readouterr().err


def test_generation_is_compiled_too(tmp_path):
    compiled = compile_ahead(resolve_run(config(tmp_path)), "generate", None)
    assert "while" in compiled.executable.as_text()


def test_generation_with_another_architecture_is_refused(tmp_path):
    task = dataclasses.replace(config(tmp_path).task, objective="causal_lm")
    cfg = dataclasses.replace(config(tmp_path), task=task, model=ModelOptions(architecture="causal_lm"))
    with pytest.raises(ValueError, match=r"but model.architecture is causal_lm: use an encoder_decoder"):
        compile_ahead(resolve_run(cfg), "generate", None)
