# SPDX-License-Identifier: Apache-2.0
"""A SentencePiece model as a `tokenizer.json`, which transformers opens for every family.

The model's own rules are kept: its map of characters, its treatment of spaces, unknown bytes and merges.

Source: the format that the `tokenizers` library writes; compared with SentencePiece in tests.
"""

import base64
import itertools
import operator
from collections.abc import Sequence
from typing import Any

from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.sentencepiece import NORMAL, SPACE, SentencePieceTokenizer, normaliser, parse_options

UNIGRAM, BPE = 1, 2  # values of SentencePiece's model_type
WHITE_SPACE = "\t\n\r"
REMOVE = {"type": "Split", "behavior": "Removed", "invert": False}
SPACES, EXTRA_SPACES = {"String": " "}, {"Regex": r"\A +| +\z| +(?= )"}


def is_like_t5(tokenizer: SentencePieceTokenizer) -> bool:
    """Returns whether transformers' T5Tokenizer reads the model as it is.

    It must be a unigram model without byte pieces, for which all white space is spaces.
    """
    proto = parse_options(tokenizer.content)
    is_plain = proto.trainer_spec.model_type == UNIGRAM and not proto.trainer_spec.byte_fallback
    spaces = proto.normalizer_spec
    has_words = spaces.add_dummy_prefix and spaces.remove_extra_whitespaces
    return is_plain and has_words and not normaliser(tokenizer.content)(WHITE_SPACE).strip(" ")


def tokenizer_json(tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    """Returns the content of a `tokenizer.json` with the same ids."""
    proto, space = parse_options(tokenizer.content), {"type": "Metaspace", "replacement": SPACE, "split": True}
    spec, has_bytes = proto.normalizer_spec, proto.trainer_spec.byte_fallback
    charsmap = base64.b64encode(spec.precompiled_charsmap).decode() or None
    removed = SPACES if spec.add_dummy_prefix else EXTRA_SPACES
    words = [REMOVE | {"pattern": removed}] if spec.remove_extra_whitespaces else []
    prefix = {"prepend_scheme": "always" if spec.add_dummy_prefix else "never"}
    decoder: dict[str, Any] = space | prefix
    if has_bytes:
        decoder = {"type": "Sequence", "decoders": [decoder, {"type": "ByteFallback"}]}
    eos = tokenizer.special_names()[1]
    after = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": eos, "type_id": 0}}]
    both = [*after, {"Sequence": {"id": "B", "type_id": 0}}, after[1]]
    special_tokens = {eos: {"id": eos, "ids": [tokenizer.eos_id], "tokens": [eos]}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token.id, "content": token.text, **token.flags} for token in all_tokens(tokenizer)],
        "normalizer": None if charsmap is None else {"type": "Precompiled", "precompiled_charsmap": charsmap},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*words, space | prefix]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": after,
            "pair": both,
            "special_tokens": special_tokens,
        },
        "decoder": decoder,
        "model": _model(tokenizer, proto),
    }


def all_tokens(tokenizer: Tokenizer) -> list[AddedToken]:
    """Returns the special, sentinel and added tokens, by id."""
    names = zip(tokenizer.special_ids, tokenizer.special_names(), strict=True)
    tokens = [AddedToken(text=name, id=i, special=True) for i, name in names if name is not None]
    sentinels = range(tokenizer.num_sentinels)
    tokens += [AddedToken(text=f"<extra_id_{n}>", id=tokenizer.sentinel_id(n), special=True) for n in sentinels]
    tokens += without_gaps(tokenizer.added_tokens, tokenizer.sentinel_ids.stop)
    return sorted(tokens, key=operator.attrgetter("id"))


def without_gaps(tokens: Sequence[AddedToken], first_id: int) -> list[AddedToken]:
    """Returns the tokens, with placeholders for unused ids from `first_id` on.

    transformers numbers added tokens consecutively, whatever ids they have.
    """
    of_id = {token.id: token for token in tokens if token.id is not None}
    gaps = [i for i in range(first_id, max(of_id, default=-1)) if i not in of_id]
    return [*tokens, *(AddedToken(text=f"<unused_{i}>", id=i) for i in gaps)]


def _model(tokenizer: SentencePieceTokenizer, proto: Any) -> dict[str, Any]:
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    pieces += [("", 0.0)] * tokenizer.num_appended
    for n in range(tokenizer.num_sentinels):
        pieces[tokenizer.sentinel_id(n)] = (f"<extra_id_{n}>", 0.0)
    has_bytes = proto.trainer_spec.byte_fallback
    if proto.trainer_spec.model_type != BPE:
        return {"type": "Unigram", "unk_id": tokenizer.unk_id, "vocab": pieces, "byte_fallback": has_bytes}
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}
    pairs = itertools.chain.from_iterable(
        ((-score, whole[:cut], whole[cut:]) for cut in range(1, len(whole))) for whole, score in scores.items()
    )
    merges = sorted(pair for pair in pairs if pair[1] in scores and pair[2] in scores)
    return {
        "type": "BPE",
        "unk_token": tokenizer.special_names()[2],
        "fuse_unk": True,
        "byte_fallback": has_bytes,
        "vocab": {text: i for i, (text, _) in enumerate(pieces)},
        "merges": [[left, right] for _, left, right in merges],
    }
