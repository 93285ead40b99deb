# SPDX-License-Identifier: Apache-2.0
"""What a prediction is judged by."""

from collections.abc import Sequence
from typing import NamedTuple


class Reference(NamedTuple):
    """What is known of one example.

    Args:
      targets: the text the model was asked for.
      answers: all texts that are accepted; empty means `targets` alone.
      group: examples of one group are judged together; empty means that this one stands alone.
    """

    targets: str
    answers: tuple[str, ...] = ()
    group: str = ""

    @property
    def accepted(self) -> tuple[str, ...]:
        """The texts that are right, one or more."""
        return self.answers or (self.targets,)


def grouped(references: Sequence[Reference]) -> list[list[int]]:
    """Returns the places of the examples of each group, groups and places in the order of the examples."""
    groups: dict[object, list[int]] = {}
    for place, reference in enumerate(references):
        groups.setdefault(reference.group or place, []).append(place)
    return list(groups.values())
