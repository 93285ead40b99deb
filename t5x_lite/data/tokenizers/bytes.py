# SPDX-License-Identifier: Apache-2.0
"""UTF-8 bytes as ids, ByT5's vocabulary; no file is needed.

Two layouts of it are published, with 384 rows of the embedding in both:

- `ByteTokenizer`, of the ByT5 checkpoints: 259 ids, the sentinels sharing those of the highest bytes, 258 and down.
- `ByteAndSentinelTokenizer`, SeqIO's with extra ids: sentinels above the bytes. Hugging Face's ByT5Tokenizer has 125 of
  them in the same places, 259 to 383, and numbers them upwards: its <extra_id_0> is <extra_id_124> here. The ByT5
  checkpoints have never seen these ids.

Source: SeqIO `ByteVocabulary`; T5 `noise_span_to_unique_sentinel`, which counts down from the last id.
"""

import itertools
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from t5x_lite.data.tokenizers.base import Tokenizer

FIRST_BYTE = 3  # after pad, EOS and unknown
NUM_BYTES = 256
NUM_IDS = FIRST_BYTE + NUM_BYTES
SENTINEL = re.compile(r"<extra_id_(0|[1-9][0-9]*)>")


class ByteTokenizer(Tokenizer):
    """The bytes as ByT5 has them: id = byte + 3.

    The 259 ids have none to spare for sentinels, so those share the ids of the highest bytes: 258 is both byte 255 and
    <extra_id_0>. UTF-8 never has bytes above 244, and decoding takes the others for sentinels where they are no valid
    UTF-8; other invalid bytes are dropped.

    Args:
      num_sentinels: how many of the highest ids are sentinels too.
    """

    kind = "bytes"
    vocab_size = NUM_IDS

    def __init__(self, num_sentinels: int = 100):
        if not 0 <= num_sentinels <= NUM_BYTES:
            raise ValueError(
                f"task.tokenizer.num_sentinels is {num_sentinels}: a vocabulary of bytes has at most 256 of them"
            )
        self.num_sentinels = num_sentinels

    def encode(self, text: str) -> list[int]:
        ids = []
        for i, part in enumerate(SENTINEL.split(text)):
            is_sentinel = i % 2 == 1 and int(part) < self.num_sentinels
            if is_sentinel:
                ids.append(self.sentinel_id(int(part)))
            else:
                ids.extend(byte + FIRST_BYTE for byte in (f"<extra_id_{part}>" if i % 2 else part).encode())
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [
            np.asarray(self.encode(text), np.int32)
            if SENTINEL.search(text)
            else np.frombuffer(text.encode(), np.uint8).astype(np.int32) + FIRST_BYTE
            for text in texts
        ]

    def surfaces(self) -> list[str]:
        texts = [chr(byte) if byte < 128 else "\ufffd" for byte in range(NUM_BYTES)]
        return (["", "", "\ufffd", *texts] + ["\ufffd"] * self.num_sentinels)[: self.vocab_size]

    def _decode_known(self, ids: list[int]) -> str:
        data, pieces = bytes(i - FIRST_BYTE for i in ids if i >= FIRST_BYTE), []
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

    def save(self, directory: pathlib.Path) -> None:
        self._save_kind(directory)


class ByteAndSentinelTokenizer(ByteTokenizer):
    """The bytes, and ids of their own for the sentinels above them; invalid UTF-8 is dropped.

    Args:
      num_sentinels: how many are appended; 125 fill the 384 rows of ByT5's embedding.
    """

    kind = "bytes_and_sentinels"

    def __init__(self, num_sentinels: int = 100):
        if num_sentinels < 0:
            raise ValueError(f"task.tokenizer.num_sentinels is {num_sentinels}: use 0 or more")
        self.num_sentinels = num_sentinels
        self.vocab_size = NUM_IDS + num_sentinels

    def _decode_known(self, ids: list[int]) -> str:
        pieces = []
        for are_sentinels, group in itertools.groupby(ids, lambda i: i >= NUM_IDS):
            if are_sentinels:
                pieces.extend(f"<extra_id_{self.vocab_size - 1 - i}>" for i in group)
            else:
                pieces.append(bytes(i - FIRST_BYTE for i in group if i >= FIRST_BYTE).decode(errors="ignore"))
        return "".join(pieces)
