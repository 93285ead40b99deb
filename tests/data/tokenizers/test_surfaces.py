"""Tests t5x_lite/data/tokenizers/surfaces.py; whole vocabularies are compared in test_sentencepiece.py"""

from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.surfaces import surfaces_of_pieces


def test_pieces_are_texts_with_spaces_and_bytes_and_gaps_are_unknown():
    pieces = {5: "\u2581a", 6: "<0x41>", 7: "<0xFF>", 8: "gone"}
    found = surfaces_of_pieces(ByteTokenizer(0), lambda i: pieces.get(i, f"t{i}"), {8})
    assert found[:10] == ["", "", "\ufffd", "t3", "t4", " a", "A", "\ufffd", "\ufffd", "t9"]
