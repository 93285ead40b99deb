# SPDX-License-Identifier: Apache-2.0
"""Small valid model directories of each family and format."""

import dataclasses
import json
import pathlib
import shutil
from typing import Any
from unittest import mock

import numpy as np

from t5x_lite.checkpoints import native, safetensors
from t5x_lite.checkpoints.hf import weights as hf
from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.checkpoints.t5x import writer as t5x
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import IGNORE, LazyModel, reader
from t5x_lite.config import ModelConfig, RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.config.architectures import ENCODER, ENCODER_DECODER, Architecture
from t5x_lite.config.plain import as_plain
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model
from t5x_lite.files.yaml_text import dump_yaml
from t5x_lite.model.architectures import abstract
from t5x_lite.model.sentence_head import Dense, SentenceHead
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

FLOAT32 = np.dtype(np.float32)
SIZES = ModelConfig(
    vocab_size=384, emb_dim=10, num_heads=2, head_dim=3, mlp_dim=7, num_encoder_layers=1, num_decoder_layers=2
)
GENERATION = {"max_new_tokens": 20, "num_beams": 1, "do_sample": True, "top_k": 5, "suppress_tokens": [3, 4]}


def write_seeds(folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the directories into a new folder and returns their paths."""
    folder.mkdir(parents=True)
    words = [f"word{number} the quick brown fox of {number % 7}" for number in range(2_000)]
    pieces = SentencePieceTokenizer(train_sentencepiece_model(words, vocab_size=200, num_sentinels=20), 20)
    t5 = _model(SIZES, pieces)
    hf.save_model(folder / "t5", t5, pieces, dtype=FLOAT32)
    (folder / "t5" / "generation_config.json").write_text(json.dumps(GENERATION))
    _copy(folder / "t5", folder / "t5_json").joinpath("spiece.model").unlink()
    _with_torch_file(_copy(folder / "t5", folder / "t5_torch"))
    with mock.patch.object(safetensors, "SHARD_BYTES", 9_000):
        umt5 = _model(dataclasses.replace(SIZES, relative_bias_per_layer=True), ByteTokenizer())
        hf.save_model(folder / "umt5", umt5, ByteTokenizer(), dtype=FLOAT32)
    encoder = _model(dataclasses.replace(SIZES, mlp_activations=("relu",)), pieces, ENCODER)
    dense = Dense(kernel_DE=_numbers((10, 5)), bias_E=_numbers((5,)), activation="tanh")
    head = SentenceHead(pooling="mean", dense=(dense,), normalise=True, max_tokens=64, prompt="query: ")
    hf.save_model(folder / "sentence", dataclasses.replace(encoder, head=head), pieces, dtype=FLOAT32)
    classifier = _model(SIZES, pieces, Architecture("sequence_classifier", ("bad", "good")))
    native.save_model(folder / "native", classifier, pieces, dtype=FLOAT32)
    (folder / "in_t5x").mkdir()
    t5x.save_model(folder / "in_t5x" / "t5x", t5, None, progress=IGNORE)
    _write_run(folder / "run", t5, pieces)
    return sorted(folder.iterdir())


def _model(cfg: ModelConfig, tokenizer: Tokenizer, architecture: Architecture = ENCODER_DECODER) -> LazyModel:
    shapes = abstract(cfg, architecture)
    arrays: Any = {name: _numbers(leaf.shape) for name, leaf in named_leaves(shapes).items()}
    return LazyModel(cfg, architecture, tokenizer, 0, FLOAT32, reader(from_named_leaves(shapes, arrays)))


def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _copy(source: pathlib.Path, destination: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(source, destination))


def _with_torch_file(directory: pathlib.Path) -> None:
    from tests.checkpoints.torch_files import torch_file  # there is no other writer of this format without torch

    path = directory / "model.safetensors"
    torch_file(directory / "pytorch_model.bin", {name: array.read() for name, array in open_weights(directory).items()})
    path.unlink()


def _write_run(directory: pathlib.Path, model: LazyModel, tokenizer: Tokenizer) -> None:
    task = TaskConfig(source="texts.txt", tokenizer=TokenizerConfig(num_sentinels=20))
    directory.mkdir()
    (directory / "config.yaml").write_text(dump_yaml(as_plain(RunConfig(run_dir=str(directory), task=task))))
    tokenizer.save(directory)
    checkpoints = Checkpoints(directory / "checkpoints", keep=1)
    description = {"model": model.config.stored(), "architecture": model.architecture.as_json()}
    checkpoints.save(3, {"model": model.load()}, description)
    checkpoints.close()
