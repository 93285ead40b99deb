# SPDX-License-Identifier: Apache-2.0
"""Parts of messages: short forms of other errors, of lists of names and of large numbers."""

from collections.abc import Iterable

MAX_NAME_CHARACTERS = 100


def first_line(error: BaseException, max_characters: int = 300) -> str:
    """Returns the first line of an error's message, or its type if it has none; some libraries add pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:max_characters]


def listed(names: Iterable[object], max_names: int = 20) -> str:
    """Returns the first names in one line, separated by commas, and the number of names left out."""
    texts = [f"{name!s:.{MAX_NAME_CHARACTERS}}" for name in names]
    texts = [text if text.isprintable() else repr(text)[1:-1] for text in texts]  # names in files may be anything
    num_left_out = len(texts) - max_names
    return ", ".join(texts[:max_names]) + (f" and {num_left_out:,} more" if num_left_out > 0 else "")


def rounded(count: int) -> str:
    """Returns a number in millions from one million on, and in full below."""
    return f"{count / 1e6:,.1f} million" if count >= 1e6 else f"{count:,}"
