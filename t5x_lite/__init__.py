# SPDX-License-Identifier: Apache-2.0
"""T5 in JAX: the models, span-corruption pretraining at scale, and what comes after.

The public names are loaded when they are first used, so that importing one costs no more than what it needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from t5x_lite.checkpoints.load import load as load
    from t5x_lite.checkpoints.load import save_hf as save_hf
    from t5x_lite.config import MixtureConfig as Mixture
    from t5x_lite.config import ModelConfig as ModelConfig
    from t5x_lite.config import RunConfig as RunConfig
    from t5x_lite.config import TaskConfig as Task
    from t5x_lite.data.tokenizers import Tokenizer as Tokenizer
    from t5x_lite.evaluation.api import evaluate as evaluate
    from t5x_lite.inference.api import generate as generate
    from t5x_lite.inference.score import rank as rank
    from t5x_lite.inference.score import score as score
    from t5x_lite.model.decoder import Decoder as Decoder
    from t5x_lite.model.encoder import Encoder as Encoder
    from t5x_lite.model.presets import presets as presets
    from t5x_lite.model.transformer import T5 as T5
    from t5x_lite.training.loop import train as train

_HOMES = {
    "Decoder": ("t5x_lite.model.decoder", "Decoder"),
    "Encoder": ("t5x_lite.model.encoder", "Encoder"),
    "ModelConfig": ("t5x_lite.config", "ModelConfig"),
    "Mixture": ("t5x_lite.config", "MixtureConfig"),
    "RunConfig": ("t5x_lite.config", "RunConfig"),
    "T5": ("t5x_lite.model.transformer", "T5"),
    "Task": ("t5x_lite.config", "TaskConfig"),
    "Tokenizer": ("t5x_lite.data.tokenizers", "Tokenizer"),
    "evaluate": ("t5x_lite.evaluation.api", "evaluate"),
    "generate": ("t5x_lite.inference.api", "generate"),
    "load": ("t5x_lite.checkpoints.load", "load"),
    "save_hf": ("t5x_lite.checkpoints.load", "save_hf"),
    "rank": ("t5x_lite.inference.score", "rank"),
    "score": ("t5x_lite.inference.score", "score"),
    "presets": ("t5x_lite.model.presets", "presets"),
    "train": ("t5x_lite.training.loop", "train"),
}

__all__ = [
    "T5",
    "Decoder",
    "Encoder",
    "Mixture",
    "ModelConfig",
    "RunConfig",
    "Task",
    "Tokenizer",
    "evaluate",
    "generate",
    "load",
    "presets",
    "rank",
    "save_hf",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 't5x_lite' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
