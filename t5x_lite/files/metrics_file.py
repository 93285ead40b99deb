# SPDX-License-Identifier: Apache-2.0
"""The rows of a run's `metrics.jsonl`."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.files.atomic_write import write_atomically

METRICS = "metrics.jsonl"
LOSSES = "loss", "eval/loss"


def losses_of(step: int, scalars: Mapping[str, Any]) -> dict[tuple[int, str], float]:
    """Returns the losses in a row, by step and name."""
    return {(step, name): float(scalars[name]) for name in LOSSES if name in scalars}


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of a metrics file without a last line truncated by a kill; ValueError if another is damaged."""
    rows, lines = [], path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                row = json.loads(line)
                losses_of(row["step"] + 0, row)  # raises an error if they are no numbers
                rows.append(row)
        except (ValueError, KeyError, TypeError):
            if number < len(lines):
                raise ValueError(f"{path}, line {number}, is damaged: restore or delete that line") from None
    return rows


def keep_rows(path: pathlib.Path, step: int) -> None:
    """Drops the rows of a metrics file after a step."""
    rows = read_rows(path)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step))
