# SPDX-License-Identifier: Apache-2.0
"""What a run begins with: parameters drawn at random, or those of a model that has been trained before."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from t5x_lite.checkpoints.load import open_pretrained
from t5x_lite.checkpoints.t5x.optimizer import opt_state_from_slots
from t5x_lite.checkpoints.weights import LazyModel, read_arrays
from t5x_lite.config import RunConfig, TokenizerConfig
from t5x_lite.config.architectures import ENCODER_DECODER, Architecture
from t5x_lite.data.task_specs import resolved
from t5x_lite.data.tokenizers import FileTokenizer, Tokenizer
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves

# Models that are an encoder and a head keep the encoder's parameters under this prefix; a T5 keeps them without it.
ENCODER = "encoder/"


def open_start(cfg: RunConfig) -> tuple[RunConfig, LazyModel | None]:
    """Returns a run's config with all that it takes over from elsewhere, and the model that it begins with, or None.

    Args:
      cfg: as a user gives it. A base of its task is replaced by what it names, and the tokenizer by that of
        `model.pretrained`, if there is one.

    Raises:
      ValueError: if `model.pretrained` or the task is wrong.
    """
    cfg = dataclasses.replace(cfg, task=resolved(cfg.task))
    if cfg.model.pretrained is None:
        return cfg, None
    weights = open_pretrained(cfg.model.pretrained)
    asked = cfg.task.tokenizer
    if weights.tokenizer is None:
        if asked.kind == "sentencepiece" and asked.path is None:
            raise ValueError(
                f"model.pretrained {cfg.model.pretrained} has no tokenizer: name its SentencePiece model in "
                "task.tokenizer.path, or set task.tokenizer.kind to bytes"
            )
        return cfg, weights
    own = tokenizer_config(weights.tokenizer, pathlib.Path(cfg.model.pretrained))
    if asked not in (own, TokenizerConfig()):
        raise ValueError(
            f"task.tokenizer is given beside model.pretrained {cfg.model.pretrained}, which has its own: leave it out"
        )
    return dataclasses.replace(cfg, task=dataclasses.replace(cfg.task, tokenizer=own)), weights


def tokenizer_config(tokenizer: Tokenizer, directory: pathlib.Path) -> TokenizerConfig:
    """Returns what names the tokenizer that was read from a directory.

    Raises:
      ValueError: if the directory has no file of it any more.
    """
    path = None
    if isinstance(tokenizer, FileTokenizer):
        content = tokenizer.content
        files = sorted([*directory.glob("*.model"), *directory.glob("*.json")])
        same = (file for file in files if file.stat().st_size == len(content) and file.read_bytes() == content)
        path = next(map(str, same), None)
        if path is None:
            raise ValueError(f"model.pretrained {directory} has no file of its tokenizer any more: get it again")
    kind: Any = tokenizer.kind
    return TokenizerConfig(kind=kind, path=path, num_sentinels=tokenizer.num_sentinels)


def source_names(names: Mapping[str, Any], architecture: Architecture, weights: Architecture) -> dict[str, str]:
    """Returns which parameter of a trained model each of a new one begins with; none is there for those of a new head.

    Args:
      names: of the new model's parameters.
      architecture: of the new model.
      weights: of the trained model.

    Raises:
      ValueError: if the new model cannot begin with the trained one.
    """
    new, old = architecture.traits, weights.traits
    if (new.model, architecture.labels) == (old.model, weights.labels):
        return {name: name for name in names}
    if new.has_encoder and not new.decodes and weights == ENCODER_DECODER:
        own = {name: name.removeprefix(ENCODER) for name in names if name.startswith(ENCODER)}
        return own | {name: name for name in names if name == "logits_kernel"}
    if new.has_encoder and old.has_encoder and not new.decodes and not old.decodes:
        return {name: name for name in names if name.startswith(ENCODER)}
    raise ValueError(
        f"model.architecture is {_described(architecture)}, which cannot begin with the model of model.pretrained, "
        f"{_described(weights)}: use the same"
    )


def begin_optimizer(shapes: Any, weights: LazyModel) -> tuple[jax.Array, Any]:
    """Returns the number of updates made, and the optimizer's state, of a checkpoint of T5X.

    Args:
      shapes: the state of `jax.ShapeDtypeStruct` with shardings.
      weights: of `model.pretrained`.

    Raises:
      ValueError: if it has no state, or that of another optimizer.
    """
    if weights.read_slots is None:
        raise ValueError(
            "optimizer.from_pretrained is true, and model.pretrained has no state of an optimizer that could go on: "
            "leave it out"
        )
    return jnp.asarray(weights.step, jnp.int32), opt_state_from_slots(weights.read_slots(), weights.step, shapes)


def _described(architecture: Architecture) -> str:
    labels = f" of {', '.join(architecture.labels)}" if architecture.labels else ""
    return f"{architecture.name}{labels}"


def begin(shapes: Any, architecture: Architecture, weights: LazyModel, fresh: Any) -> Any:
    """Returns a model with the parameters of a trained one, each device reading its own part.

    Args:
      shapes: a model of `jax.ShapeDtypeStruct` with shardings.
      architecture: of the new model.
      weights: of the trained one.
      fresh: returns a new model, for the parameters that the trained one does not have.

    Raises:
      ValueError: if the new model cannot begin with the trained one.
    """
    leaves = named_leaves(shapes)
    sources = source_names(leaves, architecture, weights.architecture)
    new = sorted(leaves.keys() - sources.keys())
    if new:
        print(f"Drawn at random, as the model to begin with lacks them: {', '.join(new)}", file=sys.stderr)
    drawn = named_leaves(fresh()) if new else {}
    read = read_arrays(weights.read, {name: leaves[name] for name in sources}, sources)
    return from_named_leaves(shapes, drawn | read)
