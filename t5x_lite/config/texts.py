# SPDX-License-Identifier: Apache-2.0
"""Arguments that are texts: what is taken for a list of them, and what is none."""

from collections.abc import Iterable, Mapping


def as_texts(texts: Iterable[str], name: str) -> list[str]:
    """Returns an argument called `name` as a list of texts; it may be any iterable of them, such as a generator.

    Raises TypeError for a single text, whose letters would be taken for texts, and for anything but ordered texts;
    ValueError for a text that holds half of a character.
    """
    if isinstance(texts, (str, bytes)):
        shown = repr(texts if len(texts) <= 40 else texts[:40]) + ("" if len(texts) <= 40 else "...")
        raise TypeError(f"{name} is a single text, {shown}: pass a list, even of one text, [{shown}]")
    try:
        if isinstance(texts, (Mapping, set, frozenset)):
            raise TypeError
        listed = list(texts)
    except TypeError:
        raise TypeError(f"{name} is of type {type(texts).__name__}: pass a list of texts") from None
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{number}] is of type {type(text).__name__}: pass a list of texts, each a str")
        if not text.isascii():
            check_whole(text, f"{name}[{number}]")
    return listed


def check_whole(text: str, name: str) -> None:
    """Raises ValueError, with the name of a text, if it holds half of a character, which cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} contains {text[error.start]!r}, half of a character, as its character {error.start}: remove it, "
            "or decode the text again with errors='replace'"
        ) from error
