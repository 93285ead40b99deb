# SPDX-License-Identifier: Apache-2.0
"""Reads what the files beside the vocabulary of a Hugging Face model directory say about its tokens.

They name special tokens and add others to the vocabulary. transformers reads some of them only if others are missing;
its order is followed. Tokens without an id get the next free ids.

Source: transformers 5.24, `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__`.
"""

import operator
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from t5x_lite.data.tokenizers.added import FLAGS, AddedToken
from t5x_lite.data.tokenizers.base import SENTINEL, FileTokenizer, Tokenizer
from t5x_lite.data.tokenizers.huggingface import HuggingFaceTokenizer
from t5x_lite.files.json_object import MAX_BYTES_OF_A_VOCABULARY, read_json_if_there
from t5x_lite.files.messages import listed

CONFIG_FILE = "tokenizer_config.json"
DECODER = "added_tokens_decoder"
NAMED = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
LISTS = ("extra_special_tokens", "additional_special_tokens")
ROBERTA = {"cls_token": "<s>", "sep_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"}
ROBERTA |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}  # names that its class has by default


def read_names(directory: pathlib.Path) -> dict[str, Any]:
    """Returns the fields of `tokenizer_config.json`, and those of `special_tokens_map.json` if they count."""
    fields = read_json_if_there(directory / CONFIG_FILE)
    if fields.get(DECODER) is None:
        fields |= read_json_if_there(directory / "special_tokens_map.json")
    usual = ROBERTA if str(fields.get("tokenizer_class", "")).startswith("Roberta") else {}
    return usual | {name: value for name, value in fields.items() if value is not None}


def token_text(token: Any) -> str | None:
    """Returns the text of a token, which may be stored with its flags; None if there is none."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None


def read_tokens(directory: pathlib.Path) -> list[AddedToken]:
    """Returns every token in the files: first those with ids, by id, then those that are only named.

    Raises:
      ValueError: if a file is malformed.
    """
    names = read_names(directory)
    special = {token.text: token for token in _special(names)}
    numbered = {token.text: token for token in _numbered(directory, names, special)}
    others = [token for text, token in special.items() if text not in numbered]
    return sorted(numbered.values(), key=operator.attrgetter("id")) + others


def with_added_tokens(base: Tokenizer, directory: pathlib.Path) -> Tokenizer:
    """Returns the tokenizer of a vocabulary with the tokens that its model directory adds.

    Its special ids and sentinels stay those of the vocabulary. Tokens without an id for which the model has no row are
    left out with a warning.

    Raises:
      ValueError: if a file is malformed, or a token has the id of another one.
    """
    tokens = [token for token in read_tokens(directory) if _is_new(token, base, directory)]
    num_rows = read_json_if_there(directory / "config.json").get("vocab_size")
    if type(num_rows) is int:
        last = max([base.next_id - 1, *(token.id for token in tokens if token.id is not None)])
        without_rows = [token for token in tokens if token.id is None][max(num_rows - last - 1, 0) :]
        if without_rows:
            tokens = tokens[: -len(without_rows)]
            texts = listed([token.text for token in without_rows], 3)
            print(f"{directory} has no rows for the tokens {texts}: they are left out", file=sys.stderr)
    try:
        return base.extended(tokens) if tokens else base
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error


def _numbered(
    directory: pathlib.Path, names: Mapping[str, Any], special: Mapping[str, AddedToken]
) -> Iterator[AddedToken]:
    """Yields the tokens whose ids are in a file."""
    if DECODER in names:
        given = names[DECODER]
        if not isinstance(given, dict) or not all(re.fullmatch("[0-9]{1,9}", i) for i in given):
            raise ValueError(f"{directory} has {DECODER} {given!r:.80}: it must map ids to tokens; download it again")
        yield from (_token(directory, token, id=int(i)) for i, token in given.items())
        return
    for text, i in read_json_if_there(directory / "added_tokens.json").items():
        yield _token(directory, {"content": text, "special": text in special}, id=i)
    given = read_json_if_there(directory / "tokenizer.json", MAX_BYTES_OF_A_VOCABULARY).get("added_tokens", [])
    for token in given if isinstance(given, list) else [given]:
        yield _token(directory, token, id=token.get("id") if isinstance(token, dict) else None)


def _special(names: Mapping[str, Any]) -> Iterator[AddedToken]:
    """Yields the special tokens that are named or listed, without ids."""
    order = [*NAMED, *(name for name in names if name.endswith("_token") and name not in NAMED)]
    every = [names[name] for name in order if name in names]
    given = next((names[name] for name in LISTS if names.get(name)), [])
    every += given.values() if isinstance(given, dict) else given if isinstance(given, list) else []
    for token in every:
        if text := token_text(token):
            fields = token if isinstance(token, Mapping) else {}
            yield _flagged({**fields, "content": text, "special": True})


def _token(directory: pathlib.Path, given: Any, *, id: Any) -> AddedToken:
    if not isinstance(given, dict) or token_text(given) is None or type(id) is not int or id < 0:
        raise ValueError(f"{directory} has the added token {given!r:.80} with the id {id!r:.80}: download it again")
    return _flagged(given, id=id)


def _flagged(given: Mapping[str, Any], id: int | None = None) -> AddedToken:
    # A token that does not say whether it is normalised is, unless it is special.
    flags = {"normalized": not given.get("special", False)} | {name: given[name] for name in FLAGS if name in given}
    return AddedToken(text=given["content"], id=id, **{name: flag is True for name, flag in flags.items()})


def _is_new(token: AddedToken, base: Tokenizer, directory: pathlib.Path) -> bool:
    """Returns whether a token is neither special nor a sentinel, nor in a tokenizer.json already."""
    own = base.token_id(token.text)
    if token.text in base.special_names() or own in base.special_ids:
        return False
    if own is not None and isinstance(base, HuggingFaceTokenizer):
        return False
    sentinel = re.fullmatch(SENTINEL, token.text)
    if not isinstance(base, FileTokenizer):  # ByT5's, which Hugging Face numbers upwards, above the bytes
        return sentinel is None
    number = int(sentinel[1]) if sentinel else base.num_sentinels
    if number >= base.num_sentinels:
        return True
    if token.id not in (None, base.sentinel_id(number)):
        print(f"{directory} gives {token.text} the id {token.id}: {base.sentinel_id(number)} is used", file=sys.stderr)
    return False
