# SPDX-License-Identifier: Apache-2.0
"""Opens a checkpoint of a training run as a model."""

import contextlib
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from t5x_lite.checkpoints import restoring
from t5x_lite.checkpoints.arrays import Index
from t5x_lite.checkpoints.native import architecture_from_json, model_config_from_json
from t5x_lite.checkpoints.orbax import TOKENIZER, Checkpoints
from t5x_lite.checkpoints.t5x.optimizer import slots_of
from t5x_lite.checkpoints.weights import LazyModel, Read, Slots, placed, reader
from t5x_lite.data.tokenizers import Tokenizer, file_checksums, load_tokenizer
from t5x_lite.files.run_path import CHECKPOINTS, checked_step, steps_in
from t5x_lite.model.architectures import ENCODER_DECODER


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None, step: int | None = None) -> LazyModel:
    """Opens a checkpoint of a run directory, the newest if `step` is None; `tokenizer` replaces the run's own."""
    step = checked_step(path, step)
    with _opened(path) as checkpoints:
        meta = restoring.meta(checkpoints, step)
    if tokenizer is None:
        _check_tokenizer(path, step, meta)
    config, architecture = model_config_from_json(meta["model"]), ENCODER_DECODER
    if "architecture" in meta:  # absent in the first version, which had only encoder-decoders
        architecture = architecture_from_json(meta["architecture"])

    def restore(shapes: Any) -> Any:
        with _opened(path) as checkpoints:
            return restoring.restore(checkpoints, step, {"model": shapes})["model"]

    @functools.cache
    def whole() -> Read:  # because checksums cover whole arrays
        return reader(restore(placed(config, None, architecture)))

    def read(name: str, index: Index) -> np.ndarray:
        return whole()(name, index)

    tokenizer = tokenizer or load_tokenizer(path)
    return LazyModel(config, architecture, tokenizer, step, np.dtype(np.float32), read, restore=restore)


def _check_tokenizer(path: pathlib.Path, step: int, meta: Mapping[str, Any]) -> None:
    """Raises ValueError unless a run's tokenizer is the one that a checkpoint was trained with, as far as it tells."""
    found = file_checksums(path)
    for name, checksum in meta.get(TOKENIZER, {}).items():  # absent in early versions
        if name in found and found[name] != checksum:
            raise ValueError(
                f"{path / name} is not as it was when the checkpoint of step {step} was saved (edited, or damaged): "
                "restore it"
            )


def read_slots(path: pathlib.Path, step: int) -> Slots | None:
    """Returns the Adafactor state of a run's checkpoint; None if the run uses another optimizer."""
    with _opened(path) as checkpoints:
        return slots_of(restoring.arrays(checkpoints, step, "optimizer"))


def _opened(path: pathlib.Path) -> contextlib.closing[Checkpoints]:
    for step in steps_in(path / CHECKPOINTS):
        checkpoint = path / CHECKPOINTS / str(step)
        try:
            restoring.check_files(checkpoint, restoring.OF_STEP)
        except ValueError as error:
            raise ValueError(f"checkpoint {checkpoint} is damaged: {error}: restore or move it") from error
    return contextlib.closing(Checkpoints(path / CHECKPOINTS))
