# SPDX-License-Identifier: Apache-2.0
"""The ids of tokens that are added to a vocabulary."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from t5x_lite.data.tokenizers.added import AddedToken

MAX_GAP = 2**16  # ids between a vocabulary and a token that was added to it


def numbered(
    tokens: Sequence[AddedToken], next_id: int, id_of: Callable[[str], int | None], name: str
) -> tuple[AddedToken, ...]:
    """Returns tokens with ids: those given, those that a vocabulary has already, or else the next ones.

    Args:
      tokens: the tokens.
      next_id: the first id after those of the vocabulary.
      id_of: returns the id of a text that is a token of the vocabulary, and None for others.
      name: the name of the vocabulary in errors.

    Raises:
      ValueError: if a text is empty or given twice, or an id belongs to another token.
    """
    made: dict[int, AddedToken] = {}
    texts, following = set(), next_id
    for token in tokens:
        own = id_of(token.text)
        number = next(i for i in (token.id, own, following) if i is not None)
        is_free = next_id <= number < next_id + MAX_GAP if own is None else number == own
        if not token.text or not is_free or number in made or token.text in texts:
            raise ValueError(
                f"{name} cannot have the added token {token.text!r:.80} with the id {number}: added texts and ids must "
                "differ from each other and from the vocabulary's"
            )
        made[number] = dataclasses.replace(token, id=number)
        texts.add(token.text)
        following = max(following, number + 1)
    return tuple(made[number] for number in sorted(made))


def as_json(tokens: Iterable[AddedToken]) -> list[dict[str, Any]]:
    """Returns the fields of tokens; those with the default value are left out."""
    return [
        {name: value for name, value in dataclasses.asdict(token).items() if value not in (None, False)}
        for token in tokens
    ]
