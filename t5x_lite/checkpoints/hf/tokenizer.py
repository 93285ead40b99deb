# SPDX-License-Identifier: Apache-2.0
"""Tokenizer files of Hugging Face model directories."""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from t5x_lite.checkpoints.hf.tokenizer_json import all_tokens, is_like_t5, tokenizer_json, without_gaps
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.base import T5_IDS
from t5x_lite.data.tokenizers.bytes import NUM_IDS, ByteTokenizer
from t5x_lite.data.tokenizers.directory import CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE
from t5x_lite.data.tokenizers.directory import read_directory as read_tokenizer
from t5x_lite.data.tokenizers.huggingface import HuggingFaceTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.files.atomic_write import write_atomically

SPECIAL_TOKENS = ("pad_token", "eos_token", "unk_token")
__all__ = ["read_tokenizer", "save_tokenizer", "tokenizer_directory"]
STRIPPED = {"lstrip": True, "rstrip": True}  # as ByT5Tokenizer adds its special tokens
BYT5_EXTRA_IDS = 125  # untrained embedding rows after the bytes in ByT5's checkpoints


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
    names = zip(SPECIAL_TOKENS, tokenizer.special_names(), strict=True)
    fields: dict[str, Any] = {token: name for token, name in names if name is not None}
    if isinstance(tokenizer, SentencePieceTokenizer):
        write_atomically(directory / MODEL_FILE, tokenizer.content)
        write_atomically(directory / TOKENIZER_FILE, json.dumps(tokenizer_json(tokenizer), ensure_ascii=False) + "\n")
        is_t5 = is_like_t5(tokenizer) and tokenizer.special_ids == T5_IDS and tokenizer.num_appended
        name = "T5Tokenizer" if is_t5 else "PreTrainedTokenizerFast"
        fields |= {"tokenizer_class": name, "extra_ids": tokenizer.num_appended}
        if tokenizer.added_tokens:
            fields["added_tokens_decoder"] = _decoder(all_tokens(tokenizer))
    elif isinstance(tokenizer, HuggingFaceTokenizer):
        write_atomically(directory / TOKENIZER_FILE, tokenizer.file_content())
        fields |= {"tokenizer_class": "PreTrainedTokenizerFast", "extra_ids": tokenizer.num_sentinels}
    elif tokenizer.kind == ByteTokenizer.kind:
        fields |= {"tokenizer_class": "ByT5Tokenizer", "extra_ids": BYT5_EXTRA_IDS}
        if tokenizer.added_tokens:
            names, numbers = tokenizer.special_names(), range(BYT5_EXTRA_IDS)
            tokens = [AddedToken(text=name or "", id=i, special=True, **STRIPPED) for i, name in enumerate(names)]
            tokens += [AddedToken(text=f"<extra_id_{n}>", id=NUM_IDS + n, special=True) for n in numbers]
            tokens += without_gaps(tokenizer.added_tokens, NUM_IDS + BYT5_EXTRA_IDS)
            fields["added_tokens_decoder"] = _decoder(tokens)
    else:
        raise ValueError(
            f"task.tokenizer.kind {tokenizer.kind} has no equivalent in Hugging Face: export a model with "
            "another tokenizer"
        )
    write_atomically(directory / CONFIG_FILE, json.dumps(fields, indent=2) + "\n")


def _decoder(tokens: Iterable[AddedToken]) -> dict[str, dict[str, Any]]:
    return {str(token.id): {"content": token.text, **token.flags} for token in tokens}
