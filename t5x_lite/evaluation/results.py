# SPDX-License-Identifier: Apache-2.0
"""Evaluation results by task, and as JSON."""

import math
from collections.abc import Mapping
from typing import Any


def as_json(value: float | int | None) -> float | int | str | None:
    """JSON has no NaN or infinity; their names are more telling than null."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def tasks_measured(scalars: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the `eval/` numbers of each task by their short names; what is of no task of a mixture under ''."""
    suffix = "/loss"
    names = [name.removeprefix("eval/").removesuffix(suffix) for name in scalars if name.endswith(suffix)]
    found: dict[str, dict[str, Any]] = {"": {}} | {name: {} for name in names if name != "loss"}
    for name, value in scalars.items():
        short = name.removeprefix("eval/")
        if short != name:
            # The names of tasks and of metrics may have slashes.
            task = max((task for task in found if short.startswith(f"{task}/")), key=len, default="")
            found[task][short[len(task) :].lstrip("/")] = value
    return found
