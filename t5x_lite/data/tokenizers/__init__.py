# SPDX-License-Identifier: Apache-2.0
"""Tokenizers with T5's fixed ids: pad 0, EOS 1, unknown 2, and sentinels descending from the highest id.

`Tokenizer.save` writes `vocabulary.json` (kind and number of sentinels) and, if the tokenizer came from a file, an
unchanged copy that other libraries can read: SentencePiece's `tokenizer.model` or Hugging Face's `tokenizer.json`.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers.base import KIND_FILE, FileTokenizer, Tokenizer, trim
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer
from t5x_lite.data.tokenizers.huggingface import HuggingFaceTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model

__all__ = [
    "KIND_FILE",
    "ByteAndSentinelTokenizer",
    "ByteTokenizer",
    "FileTokenizer",
    "HuggingFaceTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "build_tokenizer",
    "load_tokenizer",
    "tokenizer_hash",
    "train_sentencepiece_model",
    "trim",
]

KINDS: dict[str, type[Tokenizer]] = {
    cls.kind: cls for cls in (SentencePieceTokenizer, HuggingFaceTokenizer, ByteTokenizer, ByteAndSentinelTokenizer)
}


def load_tokenizer(directory: str | os.PathLike[str]) -> Tokenizer:
    """Loads a tokenizer written by `Tokenizer.save`, for example from a run directory.

    Raises:
      FileNotFoundError: if the directory has no tokenizer.
      ValueError: if its kind is unknown.
    """
    directory = pathlib.Path(directory)
    path = directory / KIND_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is {directory} the directory of a run that has started?")
    description = json.loads(path.read_text())
    kind, num_sentinels = description["kind"], description["num_sentinels"]
    if kind not in KINDS:
        raise ValueError(
            f"{path} has the kind {kind!r}, but this version knows {', '.join(KINDS)}: use the version of t5x_lite "
            "that wrote it"
        )
    return KINDS[kind].load(directory, num_sentinels)


def tokenizer_hash(directory: str | os.PathLike[str]) -> str:
    """Returns a hash of the tokenizer saved in a directory."""
    digest = hashlib.blake2b(digest_size=16)
    for name in (KIND_FILE, SentencePieceTokenizer.file_name, HuggingFaceTokenizer.file_name):
        path = pathlib.Path(directory) / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def build_tokenizer(cfg: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """Builds the configured tokenizer; a SentencePiece one without a path is trained on `texts`, read at most once."""
    if cfg.kind == ByteTokenizer.kind:
        return ByteTokenizer(cfg.num_sentinels)
    if cfg.kind == ByteAndSentinelTokenizer.kind:
        return ByteAndSentinelTokenizer(cfg.num_sentinels)
    if cfg.path is None:
        model = train_sentencepiece_model(texts, vocab_size=cfg.vocab_size, num_sentinels=cfg.num_sentinels)
        return SentencePieceTokenizer(model, cfg.num_sentinels)
    if cfg.kind == HuggingFaceTokenizer.kind or cfg.path.endswith(".json"):
        return HuggingFaceTokenizer.from_file(cfg.path, cfg.num_sentinels)
    return SentencePieceTokenizer.from_file(cfg.path, cfg.num_sentinels)
