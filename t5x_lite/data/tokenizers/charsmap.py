# SPDX-License-Identifier: Apache-2.0
"""Checks SentencePiece's maps of characters, whose readers trust the indices in them.

A map is the size of a double-array trie, the trie, and the replacements, each of which ends with a zero.

Source: SentencePiece `normalizer.cc`; Darts-clone `darts.h`.
"""

import numpy as np

MAX_NORMAL = 256  # bytes for one character; 33 in T5's map
LEAF = np.uint32(1 << 31)  # marks a unit that holds the place of a replacement, not that of other units


def check_charsmap(content: bytes, name: str) -> int:
    """Returns the length in bytes of the longest replacement in SentencePiece's map of characters.

    Raises:
      ValueError: if the map is damaged.
    """
    if not content:
        return 0
    size, problem = int.from_bytes(content[:4], "little"), f"{name} has a damaged map of characters: download it again"
    replacements = content[4 + size :]
    if not size or size % 1024 or replacements[-1:] != b"\0":
        raise ValueError(problem)
    units = np.frombuffer(content, "<u4", size // 4, offset=4)
    is_leaf = units & LEAF != 0
    places = np.arange(len(units)) ^ ((units >> 10).astype(np.int64) << ((units & (1 << 9)) >> 6))
    longest = max(map(len, replacements.split(b"\0")))
    if np.any((places[~is_leaf] | 255) >= len(units)) or np.any((units[is_leaf] & ~LEAF) >= len(replacements)):
        raise ValueError(problem)
    if longest > MAX_NORMAL:
        raise ValueError(f"{name} replaces a character by {longest:,} bytes: download it again")
    return longest
