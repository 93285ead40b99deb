# SPDX-License-Identifier: Apache-2.0
"""The fields of a config that stay the same when a run is resumed."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

# If one of these changes, the existing checkpoints or text cannot be used.
FIXED_FIELDS = (
    "revision",
    "seed",
    "task",
    "model",
    "train.inputs_length",
    "train.targets_length",
    "optimizer.name",
    "optimizer.beta1",
    "optimizer.factored",
)


def check_same(began: Mapping[str, Any], asked: Mapping[str, Any], run_dir: pathlib.Path) -> None:
    """Raises ValueError if a field of the config asked for differs from that with which the run began."""
    for field in FIXED_FIELDS:
        for name, before, now in _differences(field, _get(began, field), _get(asked, field)):
            raise ValueError(
                f"{name} is {now!r}, but the run in {run_dir} was started with {before!r}: "
                "use that value, or another run_dir"
            )


def _get(config: Mapping[str, Any], field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _differences(name: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yields (field, value before, value now) for every field in which two configs differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in now:
            yield from _differences(f"{name}.{key}", before.get(key), now[key])
    elif before != now:
        yield name, before, now
