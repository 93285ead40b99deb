# SPDX-License-Identifier: Apache-2.0
"""Display names of a vocabulary's tokens."""

from collections.abc import Sequence

from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.base import SENTINEL_PATTERN
from t5x_lite.data.tokenizers.bytes import FIRST_BYTE, ByteTokenizer

Names = Sequence[str]  # by id
WHITE_SPACE = {" ": "\u2581", "\n": "\u23ce", "\t": "\u21e5"}
SPECIAL = ("<pad>", "</s>", "<unk>")
REPLACEMENT = "\ufffd"  # the surface of a byte that is not a whole character
FIRST_INVALID_BYTE = 245  # never part of UTF-8


def token_names(tokenizer: Tokenizer) -> Names:
    """Returns the name of each id: whitespace as symbols, other unprintable characters as hexadecimal numbers."""
    special = dict(zip(tokenizer.special_ids, SPECIAL, strict=True))
    names = []
    for i, surface in enumerate(tokenizer.surfaces()):
        name = "".join(map(_visible, surface))
        byte = i - FIRST_BYTE if isinstance(tokenizer, ByteTokenizer) else FIRST_INVALID_BYTE
        if i in special:
            name = special[i]
        elif surface == REPLACEMENT and byte < FIRST_INVALID_BYTE:
            name = f"<0x{byte:02X}>"
        elif surface == REPLACEMENT:
            name = tokenizer.decode([i]) or REPLACEMENT
        elif sentinel := SENTINEL_PATTERN.fullmatch(name):
            name = f"<extra_id_{sentinel[1]}>"
        names.append(name or f"<id {i}>")
    return names


def _visible(character: str) -> str:
    if character in WHITE_SPACE:
        return WHITE_SPACE[character]
    return character if character.isprintable() else f"<0x{ord(character):02X}>"
