# SPDX-License-Identifier: Apache-2.0
"""The tokenizer in a model directory, written by t5x_lite or in Hugging Face's files.

Hugging Face names special tokens in `tokenizer_config.json` or `special_tokens_map.json`; where these are silent, or
name tokens that the vocabulary lacks, the ids in `config.json` decide.

Source: transformers 5.24, `tokenization_utils_base.py`.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.data.tokenizers.base import KIND_FILE, SpecialIds, Tokenizer, read_vocabulary
from t5x_lite.files.json_object import read_json

MODEL_FILE, TOKENIZER_FILE, CONFIG_FILE = "spiece.model", "tokenizer.json", "tokenizer_config.json"
BPE_FILES = ("vocab.json", "merges.txt")
MAP_FILE, MODEL_CONFIG_FILE = "special_tokens_map.json", "config.json"
NAMES = {"pad_token": "pad_token_id", "eos_token": "eos_token_id", "unk_token": None}  # in config.json
MAX_SENTINELS = 2**16


def read_directory(directory: pathlib.Path) -> Tokenizer:
    """Reads the tokenizer of a model directory; raises ValueError if there is none of the T5 family."""
    from t5x_lite.data.tokenizers.added_files import with_added_tokens

    if (directory / KIND_FILE).is_file():
        from t5x_lite.data.tokenizers import load_tokenizer

        return load_tokenizer(directory)
    return with_added_tokens(_read_vocabulary(directory), directory)


def _read_vocabulary(directory: pathlib.Path) -> Tokenizer:
    """Reads the tokenizer of a Hugging Face directory, without the tokens added to its vocabulary."""
    fields = read_if_there(directory / CONFIG_FILE)
    if str(fields.get("tokenizer_class", "")).startswith("ByT5"):
        from t5x_lite.data.tokenizers.bytes import ByteTokenizer

        return ByteTokenizer()
    named = read_if_there(directory / MAP_FILE) | fields
    if (directory / MODEL_FILE).is_file():
        return _sentencepiece(directory, named)
    if (directory / TOKENIZER_FILE).is_file():
        path = directory / TOKENIZER_FILE
        return _huggingface(directory, read_vocabulary(path), named, f"task.tokenizer.path {path}")
    if all((directory / name).is_file() for name in BPE_FILES):
        from t5x_lite.data.tokenizers.byte_bpe import as_tokenizer_json

        return _huggingface(directory, as_tokenizer_json(directory, named), named, f"{directory / BPE_FILES[0]}")
    raise ValueError(
        f"{directory} has no tokenizer: put its {MODEL_FILE} or {TOKENIZER_FILE} there, or, for ByT5, a {CONFIG_FILE} "
        'with "tokenizer_class": "ByT5Tokenizer"'
    )


def is_model_directory(path: pathlib.Path) -> bool:
    """Returns whether a directory says more about its tokenizer than a vocabulary file does."""
    return any((path / name).is_file() for name in (KIND_FILE, CONFIG_FILE, MODEL_CONFIG_FILE))


def token_text(token: Any) -> str | None:
    """Returns the text of a special token, which may be stored with its options; None if there is none."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None


def read_if_there(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object in a file, or an empty one if there is no file."""
    return read_json(path) if path.is_file() else {}


def _sentencepiece(directory: pathlib.Path, named: Mapping[str, Any]) -> Tokenizer:
    from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer, special_pieces

    path = directory / MODEL_FILE
    num_pieces, own, pieces = special_pieces(read_vocabulary(path), f"task.tokenizer.path {path}")
    special_ids = _special_ids(directory, named, pieces, own)
    num_rows = read_if_there(directory / MODEL_CONFIG_FILE).get("vocab_size")
    num_sentinels = _num_sentinels(directory, named)
    if "extra_ids" not in named and type(num_rows) is int and num_pieces <= num_rows < num_pieces + num_sentinels:
        num_sentinels = 0  # the model has none
    return SentencePieceTokenizer.from_file(path, num_sentinels, special_ids=special_ids)


def _huggingface(directory: pathlib.Path, content: bytes, named: Mapping[str, Any], name: str) -> Tokenizer:
    from t5x_lite.data.tokenizers.huggingface import HuggingFaceTokenizer

    try:
        stored = json.loads(content)
        vocabulary = stored["model"]["vocab"]
        ids = vocabulary if isinstance(vocabulary, dict) else {token: i for i, (token, _) in enumerate(vocabulary)}
        ids = ids | {token["content"]: token["id"] for token in stored["added_tokens"]}
        own = SpecialIds(*(ids.get(token, -1) for token in ("<pad>", "</s>", "<unk>")))
        special_ids = _special_ids(directory, named, ids, own)
        num_sentinels = 0 if "<extra_id_0>" in ids else _num_sentinels(directory, named)
    except (KeyError, TypeError, ValueError):  # the library says what is wrong
        special_ids, num_sentinels = None, 0
    return HuggingFaceTokenizer(content, num_sentinels, name=name, special_ids=special_ids)


def _special_ids(
    directory: pathlib.Path, named: Mapping[str, Any], ids: Mapping[str, int], own: SpecialIds
) -> SpecialIds:
    """Returns the special ids: of the named tokens, else of the model's config, else those of the vocabulary."""
    model, found = read_if_there(directory / MODEL_CONFIG_FILE), []
    for (token, field), default in zip(NAMES.items(), own, strict=True):
        value = model.get(field) if field else None
        value = value[0] if isinstance(value, list) and value else value
        known = ids.get(token_text(named.get(token)) or "", -1)
        if known < 0 and default < 0 and type(value) is int:
            known = value
        found.append(default if known < 0 else known)
    return SpecialIds(*found)


def _num_sentinels(directory: pathlib.Path, fields: Mapping[str, Any]) -> int:
    """Returns the number of sentinels to append; only T5's classes have any by default."""
    usual = 100 if str(fields.get("tokenizer_class", "T5")).lstrip("M").startswith("T5") else 0
    num = fields.get("extra_ids", usual)
    if type(num) is not int or not 0 <= num <= MAX_SENTINELS:
        raise ValueError(f"{directory / CONFIG_FILE} has extra_ids {num!r}: it must be a number of sentinels")
    return num
