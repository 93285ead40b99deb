# SPDX-License-Identifier: Apache-2.0
"""Names of evaluation results, and their JSON form."""

import math
from collections.abc import Mapping
from typing import Any

PREFIX = "eval/"


def prefix(task: str) -> str:
    """Returns the prefix of a task's results; the task's name is '' outside a mixture."""
    return f"{PREFIX}{task}/" if task else PREFIX


def as_json(value: float | int | None) -> float | int | str | None:
    """Returns a value that JSON can hold: NaN and infinities as strings, which are clearer than null."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def by_task(scalars: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Groups evaluation results by task, without prefixes; results over all tasks of a mixture are under ''."""
    suffix = "/loss"
    names = [name.removeprefix(PREFIX).removesuffix(suffix) for name in scalars if name.endswith(suffix)]
    results: dict[str, dict[str, Any]] = {"": {}} | {name: {} for name in names if name != "loss"}
    for name, value in scalars.items():
        short = name.removeprefix(PREFIX)
        if short != name:
            # Names of tasks and of metrics may contain slashes.
            task = max((task for task in results if short.startswith(f"{task}/")), key=len, default="")
            results[task][short[len(task) :].lstrip("/")] = value
    return results
