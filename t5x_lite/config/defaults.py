# SPDX-License-Identifier: Apache-2.0
"""Defaults that differ between pretraining and fine-tuning, which is training that starts from `model.pretrained`.

Their fields are null until `files.run_config.resolved` fills them in, so that what the user gave always wins.

Source: the T5 paper, https://arxiv.org/abs/1910.10683, sections 3.1.2 to 3.1.4; it fine-tunes with batches of 128, too
many for a few thousand examples on one device.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from t5x_lite.config.run import OptimizerConfig, RunConfig

    FilledInt = int  # never null once a config is resolved
    FilledFloat = float
    FilledText = str
else:
    FilledInt, FilledFloat, FilledText = int | None, float | None, str | None

NULL: Any = None  # the value of these fields until they are filled in
PRETRAINING: Mapping[str, Any] = {
    "train.num_steps": 10_000,
    "train.batch_size": 128,
    "optimizer.learning_rate": 0.01,
    "optimizer.schedule": "rsqrt",
    "optimizer.warmup_steps": 10_000,
}
FINE_TUNING: Mapping[str, Any] = {
    **PRETRAINING,
    "train.batch_size": 16,
    "optimizer.learning_rate": 0.001,
    "optimizer.schedule": "constant",
    "optimizer.warmup_steps": 0,
    "model.dropout_rate": 0.1,
}
WITHOUT_WARMUP = (None, "constant", "linear", "cosine")  # the other schedules divide by the number of warmup steps
Section = TypeVar("Section")


def defaults_of(cfg: "RunConfig") -> dict[str, Any]:
    """Returns the defaults of a new run's null fields, by dotted name."""
    if cfg.model.pretrained is None:
        return dict(PRETRAINING)
    if cfg.optimizer.schedule in WITHOUT_WARMUP:
        return dict(FINE_TUNING)
    return dict(FINE_TUNING) | {"optimizer.warmup_steps": PRETRAINING["optimizer.warmup_steps"]}


def filled(cfg: "RunConfig", values: Mapping[str, Any]) -> "RunConfig":
    """Returns a config whose fields have these values, by dotted name, where they were null.

    `train.num_steps` stays null if there is `train.num_epochs`, until the examples are counted.
    """
    if cfg.train.num_epochs is not None:
        values = {name: value for name, value in values.items() if name != "train.num_steps"}
    sections = {name: _filled(getattr(cfg, name), name, values) for name in ("train", "optimizer", "model")}
    return dataclasses.replace(cfg, **sections)


def filled_optimizer(cfg: "OptimizerConfig") -> "OptimizerConfig":
    """Returns the optimizer's config with the defaults of pretraining, for one that belongs to no run."""
    return _filled(cfg, "optimizer", PRETRAINING)


def is_default(field: str, value: Any) -> bool:
    """Returns whether a value of a field of the optimizer is null or a default."""
    return value is None or value in (PRETRAINING[f"optimizer.{field}"], FINE_TUNING[f"optimizer.{field}"])


def _filled(section: Section, name: str, values: Mapping[str, Any]) -> Section:
    fields = {full.removeprefix(f"{name}."): value for full, value in values.items() if full.startswith(f"{name}.")}
    null = {field: value for field, value in fields.items() if getattr(section, field) is None}
    return dataclasses.replace(section, **null)  # type: ignore[type-var]
