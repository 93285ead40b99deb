# SPDX-License-Identifier: Apache-2.0
"""The texts of SentencePiece's pieces."""

from collections.abc import Callable, Collection

from t5x_lite.data.tokenizers.base import Tokenizer

SPACE = "\u2581"  # SentencePiece's space marker


def surfaces_of_pieces(tokenizer: Tokenizer, piece_of: Callable[[int], str], gaps: Collection[int]) -> list[str]:
    """Returns the text of each id of a SentencePiece tokenizer; `gaps` are the ids without a piece."""
    pieces = [piece_of(i).replace(SPACE, " ") for i in range(tokenizer.vocab_size)]
    for i in gaps:
        pieces[i] = "\ufffd"
    bytes_of = {f"<0x{byte:02X}>": chr(byte) if byte < 128 else "\ufffd" for byte in range(256)}
    silent = (tokenizer.pad_id, tokenizer.eos_id)
    return [
        "" if i in silent else "\ufffd" if i == tokenizer.unk_id else bytes_of.get(piece, piece)
        for i, piece in enumerate(pieces)
    ]
