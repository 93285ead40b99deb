# SPDX-License-Identifier: Apache-2.0
"""References for predictions: the target, other accepted answers, and the group."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Reference(NamedTuple):
    """The reference of one example."""

    targets: str
    answers: tuple[str, ...] = ()  # all accepted texts; empty for `targets` alone
    group: str = ""  # examples with the same group are scored together; empty for none

    @property
    def accepted(self) -> tuple[str, ...]:
        """The accepted texts, at least one."""
        return self.answers or (self.targets,)


def read_references(paths: Iterable[pathlib.Path]) -> list[Reference]:
    """Reads the references from a corpus's JSON-lines files."""
    # Not `splitlines`, which also splits at characters such as U+2028, which JSON leaves as they are.
    lines = (line for path in paths for line in path.read_text(encoding="utf-8").split("\n") if line)
    rows = map(json.loads, lines)
    return [Reference(row["targets"], tuple(row.get("answers", ())), row.get("group", "")) for row in rows]


def grouped(references: Sequence[Reference]) -> list[list[int]]:
    """Returns the indices of each group's examples, in the order of the examples."""
    groups: dict[object, list[int]] = {}
    for i, reference in enumerate(references):
        groups.setdefault(reference.group or i, []).append(i)
    return list(groups.values())
