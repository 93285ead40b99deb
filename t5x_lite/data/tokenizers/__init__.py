# SPDX-License-Identifier: Apache-2.0
"""Text to ids and back, with T5's fixed ids: pad 0, EOS 1, unknown 2, sentinels descending from the top.

A directory holds a tokenizer as `vocabulary.json` (which kind, how many sentinels) and, where there is one, its file as
it came, so that other libraries read it too: `tokenizer.model` of SentencePiece, `tokenizer.json` of Hugging Face.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers.base import KIND_FILE, Tokenizer
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer
from t5x_lite.data.tokenizers.huggingface import TOKENIZER_FILE, HuggingFaceTokenizer
from t5x_lite.data.tokenizers.sentencepiece import MODEL_FILE, SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece, train_sentencepiece_model

__all__ = [
    "KIND_FILE",
    "ByteAndSentinelTokenizer",
    "ByteTokenizer",
    "HuggingFaceTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "build_tokenizer",
    "load_tokenizer",
    "tokenizer_hash",
    "train_sentencepiece",
    "train_sentencepiece_model",
]

OF_BYTES = {tokenizer.kind: tokenizer for tokenizer in (ByteTokenizer, ByteAndSentinelTokenizer)}
OF_FILES = {
    SentencePieceTokenizer.kind: (SentencePieceTokenizer, MODEL_FILE),
    HuggingFaceTokenizer.kind: (HuggingFaceTokenizer, TOKENIZER_FILE),
}


def load_tokenizer(directory: str | os.PathLike[str]) -> Tokenizer:
    """Rebuilds the tokenizer that `Tokenizer.save` wrote into a (run) directory.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is of a kind that is not known here.
    """
    directory = pathlib.Path(directory)
    path = directory / KIND_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is {directory} the directory of a run that has started?")
    description = json.loads(path.read_text())
    kind, num_sentinels = description["kind"], description["num_sentinels"]
    if kind in OF_BYTES:
        return OF_BYTES[kind](num_sentinels)
    if kind in OF_FILES:
        tokenizer, name = OF_FILES[kind]
        return tokenizer.from_file(directory / name, num_sentinels)
    raise ValueError(
        f"{path} has the kind {kind!r}, and this version knows {', '.join([*OF_FILES, *OF_BYTES])}: use the version of "
        "t5x_lite that wrote it"
    )


def tokenizer_hash(directory: str | os.PathLike[str]) -> str:
    """Returns a hash of the tokenizer in a directory, for telling it from others."""
    digest = hashlib.blake2b(digest_size=16)
    for name in (KIND_FILE, MODEL_FILE, TOKENIZER_FILE):
        path = pathlib.Path(directory) / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def build_tokenizer(cfg: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer a config asks for; one without a file is trained on `texts`, which are read once or not at all."""
    if cfg.kind in OF_BYTES:
        return OF_BYTES[cfg.kind](cfg.num_sentinels)
    if cfg.path is None:
        model = train_sentencepiece_model(texts, vocab_size=cfg.vocab_size, num_sentinels=cfg.num_sentinels)
        return SentencePieceTokenizer(model, cfg.num_sentinels)
    if cfg.kind == HuggingFaceTokenizer.kind or cfg.path.endswith(".json"):
        return HuggingFaceTokenizer.from_file(cfg.path, cfg.num_sentinels)
    return SentencePieceTokenizer.from_file(cfg.path, cfg.num_sentinels)
