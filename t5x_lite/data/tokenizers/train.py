# SPDX-License-Identifier: Apache-2.0
"""Training a SentencePiece vocabulary with T5's ids on an evenly spread part of a text.

The text is read once, in bounded memory, whatever its size. No choice is random, so there is no seed to keep: the same
texts give the same vocabulary.
"""

import io
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import sentencepiece

from t5x_lite.config import TRAINING_BYTES
from t5x_lite.data.tokenizers.base import EOS_ID, PAD_ID, UNK_ID
from t5x_lite.data.tokenizers.model_proto import parse_model
from t5x_lite.files.atomic_write import write_atomically

# SentencePiece adds up expected counts thread by thread, so another number of threads gives other last bits.
TRAINING_THREADS = 4
# SentencePiece leaves longer lines out without a word. A character is 4 bytes at most.
MAX_LINE_BYTES = 4_192
MAX_CUT_CHARACTERS = MAX_LINE_BYTES // 4


class Sample(NamedTuple):
    """An evenly spread part of the lines of a text."""

    lines: list[str]
    num_documents: int  # that were read
    num_bytes: int  # of all the lines that were read
    num_sampled_bytes: int  # of `lines`


def sample_lines(texts: Iterable[str], max_bytes: int = TRAINING_BYTES) -> Sample:
    """Reads texts once and keeps lines at even distances, about `max_bytes` of them.

    Every line is kept at first. Whenever more than twice the limit is kept, every other line is dropped, and from then
    on half as many are taken.

    Args:
      texts: documents; empty lines in them do not count, and lines too long for SentencePiece count as several.
      max_bytes: of UTF-8, to be kept; one line is kept even if it is longer.

    Returns:
      The lines, and how much there was.
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
    """Lines that are not empty; those that SentencePiece would leave out are cut, at spaces if there are any."""
    for line in text.splitlines():
        begin = 0
        if len(line) > MAX_CUT_CHARACTERS and len(line.encode()) > MAX_LINE_BYTES:
            while len(line) - begin > MAX_CUT_CHARACTERS:
                end = begin + MAX_CUT_CHARACTERS
                space = line.rfind(" ", begin + 1, end + 1)
                end = space if space > 0 else end
                if line[begin:end].strip():
                    yield line[begin:end]
                begin = end
        if line[begin:].strip():
            yield line[begin:]


def _num_bytes(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) for line in lines)


def train_sentencepiece(
    texts: Iterable[str], *, vocab_size: int, num_sentinels: int = 100, path: str | os.PathLike[str]
) -> None:
    """Trains as `train_sentencepiece_model` does and writes the model file, at once or not at all."""
    model = train_sentencepiece_model(texts, vocab_size=vocab_size, num_sentinels=num_sentinels)
    write_atomically(pathlib.Path(path), model)


def train_sentencepiece_model(texts: Iterable[str], *, vocab_size: int, num_sentinels: int = 100) -> bytes:
    """Trains a unigram vocabulary with T5's ids; the same texts give the same vocabulary.

    Args:
      texts: documents, read once, of which an evenly spread part of 2 MB is used.
      vocab_size: ids, sentinels included; the model itself has `vocab_size - num_sentinels` pieces.
      num_sentinels: how many are appended when the model is loaded.

    Returns:
      The serialized SentencePiece model.

    Raises:
      ValueError: if the texts do not support a vocabulary of that size.
    """
    return fit_sentencepiece_model(sample_lines(texts).lines, vocab_size=vocab_size, num_sentinels=num_sentinels)


def fit_sentencepiece_model(
    lines: Sequence[str],
    *,
    vocab_size: int,
    num_sentinels: int = 100,
    model_type: Literal["unigram", "bpe"] = "unigram",
    character_coverage: float = 0.9995,
    byte_fallback: bool = False,
) -> bytes:
    """Trains a vocabulary with T5's ids on all of the lines it is given.

    Args:
      lines: text without line breaks; SentencePiece leaves out those of more than 4,192 bytes.
      vocab_size: ids, sentinels included; the model itself has `vocab_size - num_sentinels` pieces.
      num_sentinels: how many are appended when the model is loaded.
      model_type: how pieces are found: unigram, as T5's, or bpe.
      character_coverage: share of the text whose characters get pieces of their own, from 0.98 to 1.
      byte_fallback: whether a character without a piece becomes its UTF-8 bytes, 256 of the pieces, and not unknown.

    Returns:
      The serialized SentencePiece model.

    Raises:
      ValueError: if there is no text, or it does not support a vocabulary of that size.
    """
    num_pieces = vocab_size - num_sentinels
    if num_pieces < 4:
        raise ValueError(
            f"task.tokenizer.vocab_size {vocab_size} leaves {num_pieces} pieces beside {num_sentinels} sentinels: "
            "use a larger vocab_size or fewer num_sentinels"
        )
    if not lines:
        raise ValueError("there is no text to train a vocabulary on, or empty lines alone: name another source")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=model_type,
            vocab_size=num_pieces,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            num_threads=TRAINING_THREADS,
            minloglevel=2,  # errors only; it counts to millions on stderr otherwise
        )
    except (RuntimeError, ValueError) as error:
        raise _cannot_train(str(error), vocab_size, num_sentinels) from error
    return model.getvalue()


def pieces_and_scores(model: bytes) -> str:
    """Returns the text that SentencePiece's own trainer writes to a .vocab file: a piece and its score a line."""
    return "".join(f"{piece.piece}\t{piece.score:g}\n" for piece in parse_model(model).pieces)


def _cannot_train(message: str, vocab_size: int, num_sentinels: int) -> ValueError:
    """Says in t5x_lite's terms what SentencePiece said in its own."""
    too_high = re.search(r"value <= (\d+)", message)
    too_low = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if too_high:
        fits = f"it supports {int(too_high[1]) + num_sentinels} at most; use that or less, or more text"
    elif too_low:
        fits = f"its characters alone need {int(too_low[1]) + num_sentinels}; use that or more"
    else:
        fits = f"SentencePiece says: {message}"
    return ValueError(
        f"cannot train task.tokenizer.vocab_size {vocab_size} ids ({num_sentinels} are sentinels) on this text: {fits}"
    )
