# SPDX-License-Identifier: Apache-2.0
"""A `tokenizer.json` of Hugging Face's `tokenizers` library, which is an optional extra and all that it needs."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5x_lite.data.tokenizers.base import (
    SENTINEL_PATTERN,
    Tokenizer,
    check_special_ids,
    count_sentinels,
    read_vocabulary,
)
from t5x_lite.files.atomic_write import write_atomically

TOKENIZER_FILE = "tokenizer.json"
SPACES = re.compile("[\u2581\u0120]")  # as SentencePiece and byte-level BPE show them
CONTINUED = "##"  # begins a token of WordPiece that goes on with a word
SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
REMEDY = "use a tokenizer of the T5 family, or make one whose first three tokens are <pad>, </s> and <unk>"


class HuggingFaceTokenizer(Tokenizer):
    """What a `tokenizer.json` says: its normaliser, its model, whichever it is, and its added tokens.

    Its post-processor, truncation and padding are left out: EOS and lengths are the pipeline's. A text that spells a
    special token (`</s>`) becomes that token, as in Hugging Face's own classes.

    Args:
      content: the file, as it came.
      num_sentinels: how many to append; a tokenizer that already ends in sentinels keeps its own.
      name: what errors call it.

    Raises:
      ValueError: if the library is missing, if `content` is no tokenizer, if it has other ids for pad, EOS and unknown
        than 0, 1 and 2, or sentinels that are not the last ids in descending order.
    """

    kind = "huggingface"

    def __init__(self, content: bytes, num_sentinels: int = 100, *, name: str = "the tokenizer.json"):
        self.content = content
        self._tokenizer = _parse(content, name)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab()
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        pad, eos, unknown = (vocabulary.get(token, -1) for token in SPECIAL_TOKENS)
        check_special_ids((pad, eos, unknown), name, REMEDY)
        matches = ((i, SENTINEL_PATTERN.fullmatch(token)) for token, i in vocabulary.items())
        places = {int(match[1]): i for i, match in matches if match}
        self.num_sentinels = count_sentinels(places, self.vocab_size, name)
        if not self.num_sentinels:
            self.num_sentinels = num_sentinels
            self._append_sentinels()
        self._check_sentinels(name)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], num_sentinels: int = 100) -> "HuggingFaceTokenizer":
        """Reads a tokenizer.json.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it is not a tokenizer with T5's ids, or the library is missing.
        """
        return cls(read_vocabulary(path), num_sentinels, name=f"task.tokenizer.path {path}")

    def __reduce__(self):
        return type(self), (self.content, self.num_sentinels)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        rows = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(row.ids, np.int32) for row in rows]

    def surfaces(self) -> list[str]:
        tokens = [self._tokenizer.id_to_token(i) or "" for i in range(self.vocab_size)]
        special = {self.pad_id: "", self.eos_id: "", self.unk_id: "\ufffd"}
        if any(token.startswith(CONTINUED) for token in tokens):  # WordPiece: a token begins a word unless it says not
            texts = [token.removeprefix(CONTINUED) if token.startswith(CONTINUED) else f" {token}" for token in tokens]
        else:
            texts = [SPACES.sub(" ", token) for token in tokens]
        return [special.get(i, text) for i, text in enumerate(texts)]

    def _decode_known(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def save(self, directory: pathlib.Path) -> None:
        write_atomically(directory / TOKENIZER_FILE, self.content)
        self._save_kind(directory)

    def _append_sentinels(self) -> None:
        import tokenizers

        # Not lstrip: the spaces around a sentinel stay tokens of the text, so that decoding gives them back.
        names = [f"<extra_id_{n}>" for n in reversed(range(self.num_sentinels))]
        self._tokenizer.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in names])
        self.vocab_size += self.num_sentinels

    def _check_sentinels(self, name: str) -> None:
        """Ids with gaps, or a normaliser that changes a sentinel before the model sees it, would train on other ids."""
        texts = [f"<extra_id_{n}>" for n in range(self.num_sentinels)]
        for n, ids in enumerate(self.encode_batch(texts)):
            if ids.tolist() != [self.sentinel_id(n)]:
                raise ValueError(
                    f"{name} turns <extra_id_{n}> into the ids {ids.tolist()}, and t5x_lite needs the one id "
                    f"{self.sentinel_id(n)}: add <extra_id_{self.num_sentinels - 1}> to <extra_id_0> as its last "
                    "tokens, in this order"
                )


def _parse(content: bytes, name: str) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            f"{name} needs Hugging Face's tokenizers library: pip install 't5x-lite[tokenizers]'"
        ) from error
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except ValueError as error:
        reason = str(error).partition("buffer: ")[2] or str(error)
        raise ValueError(
            f"{name} is not a Hugging Face tokenizer ({reason}): name the tokenizer.json that its save_pretrained wrote"
        ) from error
