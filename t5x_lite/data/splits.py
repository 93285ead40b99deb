# SPDX-License-Identifier: Apache-2.0
"""Which documents are held out."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row", bound=tuple[str, ...])


def split_by_hash(rows: Sequence[Row], eval_percent: float) -> tuple[list[Row], list[Row]]:
    """Splits documents into train and held-out ones, each in an order as good as random.

    Both the side and the place of a document come from a hash of its (first) text, so that they do not depend on the
    other documents, on a seed or on the machine; and pairs with the same inputs are on the same side.

    Args:
      rows: the texts of each document.
      eval_percent: expected share of the documents that is held out.

    Raises:
      ValueError: if there are so few documents that a side is empty.
    """
    keyed = sorted((_unit_hash(row[0]), row) for row in rows)
    evaluation = [row for key, row in keyed if key < eval_percent / 100]
    train = [row for key, row in keyed if key >= eval_percent / 100]
    if not train or not evaluation:
        raise ValueError(
            f"task.eval_percent {eval_percent} leaves {len(train)} documents to train on and {len(evaluation)} held "
            f"out of {len(rows)}: use another eval_percent, more text, task.text_unit paragraph, or task.eval_source"
        )
    return train, evaluation


def _unit_hash(text: str) -> float:
    """A number in [0, 1) from the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()  # 48 bits: exact in a float
    return int.from_bytes(digest, "big") / 2**48
