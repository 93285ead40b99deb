# SPDX-License-Identifier: Apache-2.0
"""Opens `model.pretrained` and settles which tokenizer a run that starts from it has."""

import dataclasses
import pathlib
from typing import Any

from t5x_lite.checkpoints import load
from t5x_lite.checkpoints.extend import extend_vocabulary
from t5x_lite.checkpoints.hf.tokenizer import tokenizer_directory
from t5x_lite.checkpoints.weights import LazyModel
from t5x_lite.config import ModelOptions, RunConfig, TokenizerConfig
from t5x_lite.config.defaults import defaults_of
from t5x_lite.data.shapes import padding_and_eos
from t5x_lite.data.tokenizers import Tokenizer, build_tokenizer
from t5x_lite.data.tokenizers.base import T5_IDS, FileTokenizer
from t5x_lite.files.run_config import read_run_config


def open_starting_point(cfg: RunConfig, asked: TokenizerConfig) -> tuple[LazyModel, TokenizerConfig]:
    """Returns a config's `model.pretrained`, with `model.added_tokens`, and the run's tokenizer.

    Raises:
      ValueError: if the tokenizer asked for is not the model's, or the model has none and none is asked for.
    """
    name = cfg.model.pretrained or ""
    try:
        pretrained = load.open_pretrained(name)
    except ValueError as error:
        raise ValueError(f"model.pretrained{'' if str(error).startswith(name) else ':'} {error}") from error
    asked = _tokenizer_for(cfg.model, pretrained.tokenizer, asked)
    if cfg.model.added_tokens:
        pretrained = _extended(cfg, pretrained, asked)
        asked = dataclasses.replace(asked, added_tokens=(*(asked.added_tokens or ()), *cfg.model.added_tokens))
    if pretrained.tokenizer is None:
        pad_id, eos_id = padding_and_eos(asked)
        config = dataclasses.replace(pretrained.config, pad_id=pad_id, eos_id=eos_id)
        pretrained = dataclasses.replace(pretrained, config=config)
    return pretrained, asked


def fine_tuning_notes(asked: RunConfig) -> tuple[str, ...]:
    """Returns a line on the defaults of a new run that its config leaves to fine-tuning, if there are any."""
    if read_run_config(asked.run_dir) is not None:
        return ()
    filled_in = {name: value for name, value in defaults_of(asked).items() if name != "train.num_steps"}
    shown = [f"{name} {value}" for name, value in filled_in.items() if _value(asked, name) is None]
    return (f"Defaults of fine-tuning, for what is not given: {', '.join(shown)}",) if shown else ()


def _value(cfg: RunConfig, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(cfg, section), field)


def _extended(cfg: RunConfig, pretrained: LazyModel, asked: TokenizerConfig) -> LazyModel:
    """Returns the pretrained model with `model.added_tokens`; `asked` is the config of the tokenizer without them."""
    if cfg.optimizer.from_pretrained:
        raise ValueError(
            "optimizer.from_pretrained is true, but model.added_tokens adds rows that the pretrained optimizer state "
            "lacks: leave out one of them"
        )
    tokenizer = pretrained.tokenizer or build_tokenizer(asked, ())
    return extend_vocabulary(pretrained, tokenizer, cfg.model.added_tokens or (), cfg.model.added_token_rows or "mean")


def _tokenizer_for(model: ModelOptions, tokenizer: Tokenizer | None, asked: TokenizerConfig) -> TokenizerConfig:
    """Returns the config of a pretrained model's tokenizer, or the one asked for if the model has none.

    It is without `model.added_tokens`, with which the config of a run records it.
    """
    name, added = str(model.pretrained), model.added_tokens
    if added and asked.added_tokens and asked.added_tokens[-len(added) :] == added:
        asked = dataclasses.replace(asked, added_tokens=asked.added_tokens[: -len(added)] or None)
    if tokenizer is None:
        if asked.kind == "sentencepiece" and asked.path is None:
            raise ValueError(
                f"model.pretrained {name} has no tokenizer: set task.tokenizer.path to its SentencePiece model, or "
                "task.tokenizer.kind to bytes"
            )
        return asked
    own = tokenizer_config(tokenizer, load.run_path(name))
    if asked not in (own, TokenizerConfig()):
        raise ValueError(f"task.tokenizer is set, but model.pretrained {name} has its own tokenizer: leave it out")
    return own


def tokenizer_config(tokenizer: Tokenizer, directory: pathlib.Path) -> TokenizerConfig:
    """Returns the config of a tokenizer read from a directory; raises ValueError if its file is gone.

    A tokenizer with added tokens, or whose special ids are not T5's, which its file alone may not tell, is given by its
    directory.
    """
    directory = tokenizer_directory(directory)
    if tokenizer.special_ids != T5_IDS or tokenizer.added_tokens:
        return TokenizerConfig(path=str(directory))
    path = None
    if isinstance(tokenizer, FileTokenizer):
        content = tokenizer.content
        files = sorted([*directory.glob("*.model"), *directory.glob("*.json")])
        same = (file for file in files if file.stat().st_size == len(content) and file.read_bytes() == content)
        path = next(map(str, same), None)
        if path is None:
            raise ValueError(f"model.pretrained {directory} has lost the file of its tokenizer: download it again")
    kind: Any = tokenizer.kind
    return TokenizerConfig(kind=kind, path=path, num_sentinels=tokenizer.num_sentinels)
