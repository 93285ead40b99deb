# SPDX-License-Identifier: Apache-2.0
"""Tokenizer files of Hugging Face model directories."""

import json
import os
import pathlib
from typing import Any

from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.huggingface import HuggingFaceTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.files.atomic_write import write_atomically

MODEL_FILE, TOKENIZER_FILE, CONFIG_FILE = "spiece.model", "tokenizer.json", "tokenizer_config.json"
MAX_SENTINELS = 2**16
SPECIAL_TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
BYT5_EXTRA_IDS = 125  # untrained embedding rows after the bytes in ByT5's checkpoints


def read_tokenizer(directory: pathlib.Path) -> Tokenizer:
    """Reads the tokenizer of a model directory; raises ValueError if there is none of the T5 family."""
    fields = read_json(directory / CONFIG_FILE) if (directory / CONFIG_FILE).is_file() else {}
    if str(fields.get("tokenizer_class", "")).startswith("ByT5"):
        return ByteTokenizer()
    if (directory / MODEL_FILE).is_file():
        return SentencePieceTokenizer.from_file(directory / MODEL_FILE, _num_sentinels(directory, fields))
    if (directory / TOKENIZER_FILE).is_file():
        return HuggingFaceTokenizer.from_file(directory / TOKENIZER_FILE, _num_sentinels(directory, fields))
    raise ValueError(
        f"{directory} has no tokenizer: put its {MODEL_FILE} or {TOKENIZER_FILE} there, or, for ByT5, a {CONFIG_FILE} "
        'with "tokenizer_class": "ByT5Tokenizer"'
    )


def tokenizer_directory(directory: pathlib.Path) -> pathlib.Path:
    """Returns the directory of a model's tokenizer: its own, or where diffusers and sentence-transformers put it.

    In a pipeline of diffusers, the encoder in `text_encoder_2`, for example, has its tokenizer in `tokenizer_2` beside
    it; in old directories of sentence-transformers, it is in `0_Transformer`.
    """
    if any((directory / name).is_file() for name in (MODEL_FILE, TOKENIZER_FILE, CONFIG_FILE)):
        return directory
    own = pathlib.Path(os.path.abspath(directory))
    places = [own / "0_Transformer"]
    if own.name.startswith("text_encoder"):
        places.append(own.with_name(own.name.replace("text_encoder", "tokenizer", 1)))
    return next((place for place in places if place.is_dir()), directory)


def save_tokenizer(tokenizer: Tokenizer, directory: pathlib.Path) -> None:
    """Writes a tokenizer for `transformers.AutoTokenizer`; raises ValueError if Hugging Face has no equivalent."""
    fields: dict[str, Any] = dict(SPECIAL_TOKENS)
    if isinstance(tokenizer, SentencePieceTokenizer):
        write_atomically(directory / MODEL_FILE, tokenizer.content)
        fields |= {"tokenizer_class": "T5Tokenizer", "extra_ids": tokenizer.num_appended}
    elif isinstance(tokenizer, HuggingFaceTokenizer):
        write_atomically(directory / TOKENIZER_FILE, tokenizer.content)
        fields |= {"tokenizer_class": "PreTrainedTokenizerFast", "extra_ids": tokenizer.num_sentinels}
    elif tokenizer.kind == ByteTokenizer.kind:
        fields |= {"tokenizer_class": "ByT5Tokenizer", "extra_ids": BYT5_EXTRA_IDS}
    else:
        raise ValueError(
            f"task.tokenizer.kind {tokenizer.kind} has no equivalent in Hugging Face: export a model with "
            "another tokenizer"
        )
    write_atomically(directory / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")


def _num_sentinels(directory: pathlib.Path, fields: dict[str, Any]) -> int:
    num = fields.get("extra_ids", 100)
    if type(num) is not int or not 0 <= num <= MAX_SENTINELS:
        raise ValueError(f"{directory / CONFIG_FILE} has extra_ids {num!r}: it must be a number of sentinels")
    return num
