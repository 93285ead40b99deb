# SPDX-License-Identifier: Apache-2.0
"""Resolves a config, once, into what the parts of a run need."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from t5x_lite.config import RunConfig, TokenizerConfig
from t5x_lite.data.dataset import ExampleSpec
from t5x_lite.data.task_specs import TaskSpecs, resolve_tasks
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.base import FileTokenizer

if TYPE_CHECKING:
    from t5x_lite.checkpoints.weights import LazyModel


class Run(NamedTuple):
    """A resolved config."""

    config: RunConfig  # with the resolved task, as recorded in the run directory
    examples: ExampleSpec
    pretrained: "LazyModel | None"  # the opened `model.pretrained`

    @property
    def tasks(self) -> TaskSpecs:
        """The tasks of the examples."""
        return self.examples.tasks


def resolve_run(cfg: RunConfig) -> Run:
    """Expands tasks from their bases and opens `model.pretrained`, whose tokenizer the tasks take."""
    tasks, pretrained = resolve_tasks(cfg.task), None
    if cfg.model.pretrained is not None:
        from t5x_lite.checkpoints.load import open_pretrained

        pretrained = open_pretrained(cfg.model.pretrained)
        tasks = tasks.with_tokenizer(_tokenizer_for(cfg.model.pretrained, pretrained.tokenizer, tasks.tokenizer))
    return Run(dataclasses.replace(cfg, task=tasks.whole), ExampleSpec.from_config(cfg, tasks), pretrained)


def _tokenizer_for(name: str, tokenizer: Tokenizer | None, asked: TokenizerConfig) -> TokenizerConfig:
    """Returns the config of a pretrained model's tokenizer, or the one asked for if the model has none."""
    if tokenizer is None:
        if asked.kind == "sentencepiece" and asked.path is None:
            raise ValueError(
                f"model.pretrained {name} has no tokenizer: set task.tokenizer.path to its SentencePiece model, or "
                "task.tokenizer.kind to bytes"
            )
        return asked
    own = tokenizer_config(tokenizer, pathlib.Path(name))
    if asked not in (own, TokenizerConfig()):
        raise ValueError(f"task.tokenizer is set, but model.pretrained {name} has its own tokenizer: leave it out")
    return own


def tokenizer_config(tokenizer: Tokenizer, directory: pathlib.Path) -> TokenizerConfig:
    """Returns the config of a tokenizer read from a directory; raises ValueError if its file is gone."""
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
