# SPDX-License-Identifier: Apache-2.0
"""T5 in JAX: models, pretraining, fine-tuning and inference.

Public names are imported when they are first used, so that `from t5x_lite import T5` imports neither the data pipeline
nor the checkpoint formats.
"""

import importlib

__version__ = "0.1.0"
TYPE_CHECKING = False  # this file imports next to nothing, since `t5x_lite.__main__` handles Ctrl-C only after it

if TYPE_CHECKING:  # the one list of public names, which `_public_names` reads too
    from typing import Any

    from t5x_lite.checkpoints.load import load as load
    from t5x_lite.checkpoints.load import save_hf as save_hf
    from t5x_lite.config import MixtureConfig as Mixture  # noqa: F401
    from t5x_lite.config import ModelConfig as ModelConfig
    from t5x_lite.config import RunConfig as RunConfig
    from t5x_lite.config import TaskConfig as Task  # noqa: F401
    from t5x_lite.data.tokenizers import Tokenizer as Tokenizer
    from t5x_lite.evaluation.api import evaluate as evaluate
    from t5x_lite.inference.api import generate as generate
    from t5x_lite.inference.encode import encode as encode
    from t5x_lite.inference.score import rank as rank
    from t5x_lite.inference.score import score as score
    from t5x_lite.model.decoder import Decoder as Decoder
    from t5x_lite.model.encoder import Encoder as Encoder
    from t5x_lite.model.presets import presets as presets
    from t5x_lite.model.transformer import T5 as T5
    from t5x_lite.training.loop import train as train


def _public_names() -> dict[str, tuple[str, str]]:
    """Returns the module and the name there of each public name, from this file's own source."""
    with open(__file__, encoding="utf-8") as source:
        imports = [line.split() for line in source if line.startswith("    from t5x_lite.")]
    return {public: (module, name) for _, module, _, name, _, public, *_ in imports}


_PUBLIC = _public_names()
__all__ = sorted(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> "Any":
    if name not in _PUBLIC:
        raise AttributeError(f"module 't5x_lite' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
