# SPDX-License-Identifier: Apache-2.0
"""Byte-level tokenizers, as in ByT5, which need no vocabulary file.

There are two published layouts, both with 384 embedding rows:

- `ByteTokenizer`, used by the ByT5 checkpoints, has 259 ids; sentinels share the highest byte ids, from 258 down.
- `ByteAndSentinelTokenizer`, SeqIO's layout with extra ids, has separate sentinels after the bytes. The ByT5
  checkpoints were not trained with it. Hugging Face's ByT5Tokenizer has 125 sentinels at the same ids, 259 to 383, but
  numbers them upwards: its <extra_id_0> is <extra_id_124> here.

Source: SeqIO `ByteVocabulary`; T5 `noise_span_to_unique_sentinel`, which counts down from the last id.
"""

import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from t5x_lite.config.texts import as_texts
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.base import SpecialIds, Tokenizer

FIRST_BYTE = 3  # after pad, EOS and unknown
NUM_BYTES = 256
NUM_IDS = FIRST_BYTE + NUM_BYTES
NUM_ROWS = 384  # of ByT5's embeddings; Hugging Face's first added token follows them


class ByteTokenizer(Tokenizer):
    """ByT5's layout: id = byte + 3, and the highest `num_sentinels` ids are also sentinels.

    Id 258, for example, is both byte 255 and <extra_id_0>. UTF-8 never uses bytes above 244, so decoding turns invalid
    bytes into the sentinel with the same id, or drops them if there is none.
    """

    kind = "bytes"

    def __init__(self, num_sentinels: int = 100, added_tokens: Sequence[AddedToken] = ()):
        if not 0 <= num_sentinels <= NUM_BYTES:
            raise ValueError(f"task.tokenizer.num_sentinels is {num_sentinels}: kind bytes supports 0 to 256")
        self._set_ids(NUM_IDS, num_sentinels, added_tokens)

    def _set_ids(self, vocab_size: int, num_sentinels: int, added_tokens: Sequence[AddedToken]) -> None:
        self.vocab_size, self.num_sentinels = vocab_size, num_sentinels
        self._add(added_tokens, lambda text: None, f"task.tokenizer.kind {self.kind}")
        self._split = self._splitter()
        self._texts = {token.id: token.text for token in self.added_tokens}

    @property
    def next_id(self) -> int:
        return max(self.vocab_size, NUM_ROWS)

    def encode(self, text: str) -> list[int]:
        return self._ids(text).tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._ids(text) for text in as_texts(texts, "texts")]

    def _ids(self, text: str) -> np.ndarray:
        ids = [
            np.asarray([part], np.int32)
            if isinstance(part, int)
            else np.frombuffer(part.encode(), np.uint8).astype(np.int32) + FIRST_BYTE
            for part in self._split(text) or [""]
        ]
        return ids[0] if len(ids) == 1 else np.concatenate(ids)

    def surfaces(self) -> list[str]:
        texts = [chr(byte) if byte < 128 else "\ufffd" for byte in range(NUM_BYTES)]
        surfaces = ["", "", "\ufffd", *texts] + ["\ufffd"] * (self.vocab_size - NUM_IDS)
        return [self._texts.get(i, text) for i, text in enumerate(surfaces)]

    def _decode_known(self, ids: list[int]) -> str:
        groups = itertools.groupby(ids, lambda i: self._texts.get(i))
        return "".join(self._decode_bytes(group) if text is None else text * len([*group]) for text, group in groups)

    def _decode_bytes(self, ids: Iterable[int]) -> str:
        data, pieces = bytes(i - FIRST_BYTE for i in ids if FIRST_BYTE <= i < NUM_IDS), []
        while data:
            try:
                pieces.append(data.decode())
                break
            except UnicodeDecodeError as error:
                pieces.append(data[: error.start].decode())
                numbers = [NUM_BYTES - 1 - byte for byte in data[error.start : error.end]]
                pieces.extend(f"<extra_id_{n}>" for n in numbers if n < self.num_sentinels)
                data = data[error.end :]
        return "".join(pieces)

    def extended(self, tokens: Sequence[AddedToken]) -> Self:
        return type(self)(self.num_sentinels, (*self.added_tokens, *tokens))

    @classmethod
    def load(
        cls,
        directory: pathlib.Path,
        num_sentinels: int,
        special_ids: SpecialIds | None = None,
        added_tokens: Sequence[AddedToken] = (),
    ) -> Self:
        del directory, special_ids
        return cls(num_sentinels, added_tokens)


class ByteAndSentinelTokenizer(ByteTokenizer):
    """Bytes followed by separate sentinels; 125 fill ByT5's 384 embedding rows. Decoding drops invalid UTF-8."""

    kind = "bytes_and_sentinels"

    def __init__(self, num_sentinels: int = 100, added_tokens: Sequence[AddedToken] = ()):
        if num_sentinels < 0:
            raise ValueError(f"task.tokenizer.num_sentinels is {num_sentinels}: use 0 or more")
        self._set_ids(NUM_IDS + num_sentinels, num_sentinels, added_tokens)

    @property
    def next_id(self) -> int:
        return self.vocab_size

    def _decode_bytes(self, ids: Iterable[int]) -> str:
        pieces = []
        for are_sentinels, group in itertools.groupby(ids, lambda i: i >= NUM_IDS):
            if are_sentinels:
                pieces.extend(f"<extra_id_{self.sentinel_ids.stop - 1 - i}>" for i in group)
            else:
                pieces.append(bytes(i - FIRST_BYTE for i in group if i >= FIRST_BYTE).decode(errors="ignore"))
        return "".join(pieces)
