# SPDX-License-Identifier: Apache-2.0
"""The tokenizer in a model directory, written by t5x_lite or in Hugging Face's files.

Hugging Face names special tokens in `tokenizer_config.json` or `special_tokens_map.json`; where these are silent, or
name tokens that the vocabulary lacks, the ids in `config.json` decide.

Source: transformers 5.24, `tokenization_utils_base.py`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.data.tokenizers import byte_bpe, load_tokenizer
from t5x_lite.data.tokenizers.added_files import CONFIG_FILE, read_names, token_text, with_added_tokens
from t5x_lite.data.tokenizers.base import KIND_FILE, MAX_SENTINELS, SpecialIds, Tokenizer, read_vocabulary
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.huggingface import SPECIAL_TOKENS, HuggingFaceTokenizer, vocabulary_of
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer, read_pieces
from t5x_lite.files.json_object import read_json_if_there
from t5x_lite.files.reading import reading

MODEL_FILE, TOKENIZER_FILE, MODEL_CONFIG_FILE = "spiece.model", "tokenizer.json", "config.json"
NAMES = {"pad_token": "pad_token_id", "eos_token": "eos_token_id", "unk_token": None}  # in config.json


def read_directory(directory: pathlib.Path) -> Tokenizer:
    """Reads the tokenizer of a model directory; raises ValueError if there is none of the T5 family."""
    if (directory / KIND_FILE).is_file():
        return load_tokenizer(directory)
    with reading(directory):
        return with_added_tokens(_read_vocabulary(directory), directory)


def _read_vocabulary(directory: pathlib.Path) -> Tokenizer:
    """Reads the tokenizer of a Hugging Face directory, without the tokens added to its vocabulary."""
    names = read_names(directory)
    if str(names.get("tokenizer_class", "")).startswith("ByT5"):
        return ByteTokenizer()
    if (directory / MODEL_FILE).is_file():
        return _sentencepiece(directory, names)
    if (path := directory / TOKENIZER_FILE).is_file():
        return _huggingface(directory, read_vocabulary(path), names, f"task.tokenizer.path {path}")
    if all((directory / name).is_file() for name in byte_bpe.FILES):
        return _huggingface(directory, byte_bpe.as_tokenizer_json(directory), names, f"{directory / byte_bpe.FILES[0]}")
    raise ValueError(
        f"{directory} has no tokenizer: put its {MODEL_FILE} or {TOKENIZER_FILE} there, or, for ByT5, a {CONFIG_FILE} "
        'with "tokenizer_class": "ByT5Tokenizer"'
    )


def is_model_directory(path: pathlib.Path) -> bool:
    """Returns whether a directory says more about its tokenizer than a vocabulary file does."""
    return any((path / name).is_file() for name in (KIND_FILE, CONFIG_FILE, MODEL_CONFIG_FILE))


def _sentencepiece(directory: pathlib.Path, names: Mapping[str, Any]) -> Tokenizer:
    path = directory / MODEL_FILE
    pieces = read_pieces(read_vocabulary(path), f"task.tokenizer.path {path}")
    special_ids, num_pieces = _special_ids(directory, names, pieces.ids, pieces.special_ids), len(pieces.ids)
    num_rows = read_json_if_there(directory / MODEL_CONFIG_FILE).get("vocab_size")
    num_sentinels = _num_sentinels(directory, names)
    if "extra_ids" not in names and type(num_rows) is int and num_pieces <= num_rows < num_pieces + num_sentinels:
        num_sentinels = 0  # the model has none
    return SentencePieceTokenizer.from_file(path, num_sentinels, special_ids=special_ids)


def _huggingface(directory: pathlib.Path, content: bytes, names: Mapping[str, Any], name: str) -> Tokenizer:
    ids = vocabulary_of(content, name)
    own = SpecialIds(*(ids.get(token, -1) for token in SPECIAL_TOKENS))
    num_sentinels = 0 if "<extra_id_0>" in ids else _num_sentinels(directory, names)
    return HuggingFaceTokenizer(content, num_sentinels, name=name, special_ids=_special_ids(directory, names, ids, own))


def _special_ids(
    directory: pathlib.Path, names: Mapping[str, Any], ids: Mapping[str, int], own: SpecialIds
) -> SpecialIds:
    """Returns the special ids: of the named tokens, else of the vocabulary, else of the model's config."""
    model, found = read_json_if_there(directory / MODEL_CONFIG_FILE), []
    for (token, field), own_id in zip(NAMES.items(), own, strict=True):
        value = model.get(field) if field else None
        value = value[0] if isinstance(value, list) and value else value
        candidates = (ids.get(token_text(names.get(token)) or "", -1), own_id, value if type(value) is int else -1)
        found.append(next((i for i in candidates if i >= 0), -1))
    return SpecialIds(*found)


def _num_sentinels(directory: pathlib.Path, fields: Mapping[str, Any]) -> int:
    """Returns the number of sentinels to append; only T5's classes have any by default."""
    usual = 100 if str(fields.get("tokenizer_class", "T5")).removeprefix("M").startswith("T5") else 0
    num = fields.get("extra_ids", usual)
    if type(num) is not int or not 0 <= num <= MAX_SENTINELS:
        raise ValueError(f"{directory / CONFIG_FILE} has extra_ids {num!r:.80}: it must be a number of sentinels")
    return num
