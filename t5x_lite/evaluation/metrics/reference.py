# SPDX-License-Identifier: Apache-2.0
"""References for predictions: the target, other accepted answers, and the group."""

import json
import pathlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Reference(NamedTuple):
    """The reference of one example."""

    targets: str
    answers: tuple[str, ...] = ()  # all accepted texts; empty for `targets` alone
    group: str = ""  # examples with the same group are scored together; empty for none
    context: str = ""  # the text that `span_squad` takes answers from
    is_correct: bool | None = None  # whether `targets` is right, for `rank_classification` and `wsc_accuracy`
    weight: float = 1.0  # of the example, in `rank_classification`
    number: int = 0  # in the held-out text
    group_size: int = 0  # examples of the group in the held-out text; 0 if unknown

    @property
    def accepted(self) -> tuple[str, ...]:
        """The accepted texts, at least one."""
        return self.answers or (self.targets,)


class TargetScore(NamedTuple):
    """How probable a model finds an example's targets."""

    log_likelihood: float  # in nats, EOS included
    num_tokens: int  # EOS included


def read_references(paths: Iterable[pathlib.Path]) -> list[Reference]:
    """Reads the references from a corpus's JSON-lines files."""
    # Not `splitlines`, which also splits at characters such as U+2028, which JSON leaves as they are.
    lines = (line for path in paths for line in path.read_text(encoding="utf-8").split("\n") if line)
    return references_of([json.loads(line) for line in lines])


def references_of(rows: Sequence[dict[str, Any]]) -> list[Reference]:
    """Returns the references that rows of a corpus describe, which are all that there are."""
    sizes = Counter(row["group"] for row in rows if "group" in row)
    return [_reference(row, number, sizes[row.get("group")]) for number, row in enumerate(rows)]


def _reference(row: dict[str, Any], number: int, group_size: int) -> Reference:
    fields = {name: row[name] for name in Reference._fields if name in row}
    derived = {"answers": tuple(row.get("answers", ())), "number": number, "group_size": group_size}
    return Reference(**fields | derived)


def grouped(references: Sequence[Reference]) -> list[list[int]]:
    """Returns the indices of each group's examples, in the order of the examples."""
    groups: dict[object, list[int]] = {}
    for i, reference in enumerate(references):
        groups.setdefault(reference.group or i, []).append(i)
    return list(groups.values())
