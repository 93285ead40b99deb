# SPDX-License-Identifier: Apache-2.0
"""Hugging Face tokenizers, read from a `tokenizer.json` (extra `tokenizers`)."""

import contextlib
import json
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from t5x_lite.config.texts import as_texts
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.base import (
    SENTINEL_PATTERN,
    FileTokenizer,
    SpecialIds,
    check_special_ids,
    count_sentinels,
)
from t5x_lite.data.tokenizers.rules import check_ids, check_rules, not_one
from t5x_lite.files.damage import PANIC
from t5x_lite.files.reading import reading

SPACES = re.compile("[\u2581\u0120]")  # space markers of SentencePiece and byte-level BPE
CONTINUED = "##"  # WordPiece's prefix for a token that continues a word
SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
REMEDY = "use a tokenizer of the T5 family, or make one with the tokens <pad>, </s> and <unk>"


class HuggingFaceTokenizer(FileTokenizer):
    """The normaliser, model and added tokens of a `tokenizer.json`.

    Ignores its truncation, padding and post-processor, because the pipeline adds EOS and pads; but keeps what the
    post-processor puts before texts that end in EOS, such as RoBERTa's `<s>`. `</s>` and other special tokens in a text
    become those tokens, as in Hugging Face's classes. With `num_sentinels` 0, sentinels in another order are ordinary
    tokens. Raises ValueError if the library is missing.
    """

    kind = "huggingface"
    file_name = "tokenizer.json"

    def __init__(
        self,
        content: bytes,
        num_sentinels: int = 100,
        *,
        name: str = "the tokenizer.json",
        special_ids: SpecialIds | None = None,
        added_tokens: Sequence[AddedToken] = (),
    ):
        super().__init__(content, num_sentinels, name=name)
        self._name = name
        with reading(name, REMEDY):
            self._open(content, num_sentinels, name, special_ids, added_tokens)

    def _open(
        self,
        content: bytes,
        num_sentinels: int,
        name: str,
        special_ids: SpecialIds | None,
        added_tokens: Sequence[AddedToken],
    ) -> None:
        self._tokenizer = _parse(content, name)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab()
        check_ids(vocabulary, name)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        special_ids = special_ids or SpecialIds(*(vocabulary.get(token, -1) for token in SPECIAL_TOKENS))
        check_special_ids(special_ids, self.vocab_size, name, REMEDY)
        self.pad_id, self.eos_id, self.unk_id = special_ids
        *prefix, last = self._tokenizer.encode("").ids or [-1]
        self.prefix_ids = prefix if last == self.eos_id else []
        matches = ((i, SENTINEL_PATTERN.fullmatch(token)) for token, i in vocabulary.items())
        own_ids = {int(match[1]): i for i, match in matches if match}
        of_model = max(self._tokenizer.get_vocab(with_added_tokens=False).values(), default=-1) + 1
        end = max(of_model, *(i + 1 for i in own_ids.values())) if own_ids else self.vocab_size
        try:
            own_sentinels = count_sentinels(own_ids, end, name)
        except ValueError:
            if num_sentinels:
                raise
            own_sentinels, end = 0, self.vocab_size
        self.num_sentinels, self.num_above = own_sentinels or num_sentinels, self.vocab_size - end
        self.num_appended = self.num_sentinels - own_sentinels
        if not own_sentinels:
            self._append_sentinels()
        self._check_sentinels(name)
        self._add(added_tokens, self._tokenizer.token_to_id, name)
        self._add_to_library(name)
        self._gaps = frozenset(range(self.vocab_size)) - {
            *self._tokenizer.get_vocab().values(),
            *(token.id for token in self.added_tokens),
        }

    def encode(self, text: str) -> list[int]:
        with reading(self._name, REMEDY):
            return self.prefix_ids + self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        texts = as_texts(texts, "texts")
        with reading(self._name, REMEDY):
            rows = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.asarray(self.prefix_ids + row.ids, np.int32) for row in rows]

    def token_id(self, text: str) -> int | None:
        return self._tokenizer.token_to_id(text)

    def special_names(self) -> list[str | None]:
        return [self._tokenizer.id_to_token(i) if i >= 0 else None for i in self.special_ids]

    def surfaces(self) -> list[str]:
        from tokenizers import decoders

        tokens = [self._tokenizer.id_to_token(i) or "" for i in range(self.vocab_size)]
        special = dict.fromkeys(self.prefix_ids, "") | {self.pad_id: "", self.eos_id: "", self.unk_id: "\ufffd"}
        if any(token.startswith(CONTINUED) for token in tokens):  # WordPiece marks continuations, not spaces
            texts = [token.removeprefix(CONTINUED) if token.startswith(CONTINUED) else f" {token}" for token in tokens]
        elif isinstance(self._tokenizer.decoder, decoders.ByteLevel):
            texts = [self._tokenizer.decoder.decode([token]) for token in tokens]
        else:
            texts = [SPACES.sub(" ", token) for token in tokens]
        return [special.get(i, text) for i, text in enumerate(texts)]

    def _is_known(self, i: int) -> bool:
        return super()._is_known(i) and i not in self._gaps

    def _decode_known(self, ids: list[int]) -> str:
        ids = [i for i in ids if i not in self.prefix_ids] if self.prefix_ids else ids
        with reading(self._name, REMEDY):
            return self._tokenizer.decode(ids, skip_special_tokens=False)

    def _append_sentinels(self) -> None:
        import tokenizers

        # Without lstrip, spaces around a sentinel are kept as tokens and survive decoding.
        names = [f"<extra_id_{n}>" for n in reversed(range(self.num_sentinels))]
        self._tokenizer.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in names])
        self.vocab_size += self.num_sentinels

    def _add_to_library(self, name: str) -> None:
        """Adds the added tokens; raises ValueError if the library gives them other ids."""
        for token in self.added_tokens:
            self._tokenizer.add_tokens([as_library_token(token)])
            if (number := self._tokenizer.token_to_id(token.text)) != token.id:
                raise ValueError(
                    f"{name} cannot have the added token {token.text!r} with the id {token.id}: its id is {number}; "
                    "leave no ids out"
                )

    def file_content(self) -> bytes:
        """Returns a tokenizer.json with all sentinels and added tokens; the file itself if it has them."""
        if not self.num_appended and not self.added_tokens:
            return self.content
        return self._tokenizer.to_str(pretty=True).encode()

    def _check_sentinels(self, name: str) -> None:
        """Raises ValueError if a gap in the ids or the normaliser gives a sentinel the wrong id."""
        texts, num_before = [f"<extra_id_{n}>" for n in range(self.num_sentinels)], len(self.prefix_ids)
        for n, ids in enumerate(self.encode_batch(texts)):
            ids = ids[num_before:]
            if ids.tolist() != [self.sentinel_id(n)]:
                raise ValueError(
                    f"{name} encodes <extra_id_{n}> as {ids.tolist()}, but t5x_lite needs the single id "
                    f"{self.sentinel_id(n)}: add <extra_id_{self.num_sentinels - 1}> to <extra_id_0> as its last "
                    "tokens, in this order"
                )


def import_tokenizers(name: str) -> ModuleType:
    """Returns the tokenizers library; raises ValueError, which names the file that needs it, if it is missing."""
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            f"{name} needs Hugging Face's tokenizers library: pip install 't5x-lite[tokenizers]'"
        ) from error
    return tokenizers


def as_library_token(token: AddedToken) -> Any:
    """Returns the tokenizers library's form of an added token."""
    import tokenizers

    return tokenizers.AddedToken(token.text, **token.flags)


def vocabulary_of(content: bytes, name: str) -> dict[str, int]:
    """Returns the ids of all tokens in a `tokenizer.json`, in a tenth of the time that the library takes."""
    check_rules(content, name)
    with contextlib.suppress(KeyError, RecursionError, TypeError, ValueError):
        stored = json.loads(content)
        pieces = stored["model"]["vocab"]
        ids = pieces if isinstance(pieces, dict) else {text: i for i, (text, _) in enumerate(pieces)}
        ids = ids | {token["content"]: token["id"] for token in stored["added_tokens"]}
        if all(type(i) is int for i in ids.values()):
            return ids
    return _parse(content, name).get_vocab()  # which says what is wrong


def _parse(content: bytes, name: str) -> Any:
    library = import_tokenizers(name)
    check_rules(content, name)
    try:
        tokenizer = library.Tokenizer.from_buffer(content)
        tokenizer.encode("\uffff")  # which fails if unknown text has no id
        return tokenizer
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        reason = (str(error).partition("buffer: ")[2] or str(error))[:200]
        raise ValueError(not_one(name, reason)) from error
