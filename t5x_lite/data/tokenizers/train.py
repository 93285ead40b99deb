# SPDX-License-Identifier: Apache-2.0
"""Trains a SentencePiece vocabulary with T5's ids on an evenly spaced sample of a text.

Reads the text once, in bounded memory. Training is deterministic: the same text yields the same vocabulary.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import sentencepiece

from t5x_lite.config import VOCABULARY_BYTES
from t5x_lite.data.tokenizers.base import T5_IDS

# Fixed, because SentencePiece sums expected counts per thread: the number of threads changes the last bits.
TRAINING_THREADS = 4
# SentencePiece silently skips longer lines. A character takes at most 4 bytes.
MAX_LINE_BYTES = 4_192
MAX_PART_CHARACTERS = MAX_LINE_BYTES // 4


class Sample(NamedTuple):
    """An evenly spaced sample of the lines of a text."""

    lines: list[str]
    num_documents: int  # read
    num_bytes: int  # read
    num_sampled_bytes: int  # of `lines`


def sample_lines(texts: Iterable[str], max_bytes: int = VOCABULARY_BYTES) -> Sample:
    """Reads texts once and keeps about `max_bytes` (at least one line) of evenly spaced lines.

    Skips empty lines and splits those too long for SentencePiece. Keeps every line at first; whenever the sample grows
    beyond twice the limit, drops every other line and doubles the stride.
    """
    kept: list[str] = []
    num_documents = num_lines = num_bytes = kept_bytes = 0
    stride = 1
    for text in texts:
        num_documents += 1
        for line in _trainable_lines(text):
            size = len(line.encode())
            num_bytes += size
            if num_lines % stride == 0:
                kept.append(line)
                kept_bytes += size
            num_lines += 1
            while kept_bytes > 2 * max_bytes and len(kept) > 1:
                kept, stride = kept[::2], 2 * stride
                kept_bytes = _num_bytes(kept)
    num_left = len(kept) if kept_bytes <= max_bytes else max(1, len(kept) * max_bytes // kept_bytes)
    lines = [kept[i * len(kept) // num_left] for i in range(num_left)]
    return Sample(lines, num_documents, num_bytes, _num_bytes(lines))


def _trainable_lines(text: str) -> Iterator[str]:
    """Yields non-empty lines, splitting those too long for SentencePiece, at spaces if possible."""
    for line in text.splitlines():
        begin = 0
        if len(line) > MAX_PART_CHARACTERS and len(line.encode()) > MAX_LINE_BYTES:
            while len(line) - begin > MAX_PART_CHARACTERS:
                end = begin + MAX_PART_CHARACTERS
                space = line.rfind(" ", begin + 1, end + 1)
                end = space if space > 0 else end
                if line[begin:end].strip():
                    yield line[begin:end]
                begin = end
        if line[begin:].strip():
            yield line[begin:]


def _num_bytes(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) for line in lines)


def train_sentencepiece_model(texts: Iterable[str], *, vocab_size: int, num_sentinels: int = 100) -> bytes:
    """Trains a unigram vocabulary on 2 MB of evenly spaced lines; otherwise like `fit_sentencepiece_model`."""
    return fit_sentencepiece_model(sample_lines(texts).lines, vocab_size=vocab_size, num_sentinels=num_sentinels)


def count_pieces(vocab_size: int, num_sentinels: int) -> int:
    """Returns the number of pieces beside the sentinels; raises ValueError if these leave too few."""
    num_pieces = vocab_size - num_sentinels
    if num_pieces < 4:
        raise ValueError(
            f"task.tokenizer.vocab_size {vocab_size} leaves {num_pieces} pieces beside {num_sentinels} sentinels: "
            "raise vocab_size or lower num_sentinels"
        )
    return num_pieces


def fit_sentencepiece_model(
    lines: Sequence[str],
    *,
    vocab_size: int,
    num_sentinels: int = 100,
    model_type: Literal["unigram", "bpe"] = "unigram",
    character_coverage: float = 0.9995,
    byte_fallback: bool = False,
) -> bytes:
    """Trains a vocabulary with T5's ids and returns the serialised SentencePiece model.

    Args:
      lines: lines of text; SentencePiece skips lines longer than 4,192 bytes.
      vocab_size: number of ids, including sentinels; the model itself has `vocab_size - num_sentinels` pieces.
      num_sentinels: number of sentinels appended when the model is loaded.
      model_type: unigram, as in T5, or bpe.
      character_coverage: fraction of the text's characters covered by pieces, from 0.98 to 1; rarer ones are unknown.
      byte_fallback: whether characters without a piece become UTF-8 bytes (256 of the pieces) instead of unknown.

    Raises:
      ValueError: if there is no text, or `vocab_size` is too large or too small for it.
    """
    num_pieces = count_pieces(vocab_size, num_sentinels)
    if not lines:
        raise ValueError("there is no text to train a vocabulary on: name a source with lines that are not empty")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=model_type,
            vocab_size=num_pieces,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            pad_id=T5_IDS.pad,
            eos_id=T5_IDS.eos,
            unk_id=T5_IDS.unk,
            bos_id=-1,
            num_threads=TRAINING_THREADS,
            minloglevel=2,  # errors only
        )
    except (RuntimeError, ValueError) as error:
        from t5x_lite.data.tokenizers.train_errors import cannot_train

        raise cannot_train(str(error), vocab_size, num_sentinels) from error
    return model.getvalue()
