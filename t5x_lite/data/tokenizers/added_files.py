# SPDX-License-Identifier: Apache-2.0
"""Reads the tokens that were added to the vocabulary of a Hugging Face model directory.

They are in several files, some of which transformers reads only if others are missing; its order is followed. Tokens
without an id get the next free ids.

Source: transformers 5.24, `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__`.
"""

import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from t5x_lite.data.tokenizers.added import SENTINEL, AddedToken
from t5x_lite.data.tokenizers.base import FileTokenizer, Tokenizer
from t5x_lite.files.json_object import read_json
from t5x_lite.files.messages import listed

DECODER = "added_tokens_decoder"
NAMED = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
LISTS = ("extra_special_tokens", "additional_special_tokens")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


def with_added_tokens(base: Tokenizer, directory: pathlib.Path) -> Tokenizer:
    """Returns the tokenizer of a vocabulary with the tokens that its model directory adds.

    Its special ids and sentinels stay those of the vocabulary. Tokens without an id for which the model has no row are
    left out with a warning.

    Raises:
      ValueError: if a file is malformed, or a token has the id of another one.
    """
    fields = _json(directory, "tokenizer_config.json")
    declared = {token.text: token for token in _declared(directory, fields)}
    maps = {} if DECODER in fields else _json(directory, "special_tokens_map.json")
    unnumbered = {text: token for text, token in _special({**fields, **maps}) if text not in declared}
    tokens = [token for token in [*declared.values(), *unnumbered.values()] if _is_new(token, base, directory)]
    num_rows = _json(directory, "config.json").get("vocab_size")
    if type(num_rows) is int:
        first = max([base.next_id, *(token.id + 1 for token in tokens if token.id is not None)])
        without_rows = [token.text for token in tokens if token.id is None][max(num_rows - first, 0) :]
        tokens = [token for token in tokens if token.id is not None or token.text not in without_rows]
        if without_rows:
            print(
                f"{directory} has no rows for the tokens {listed(without_rows, 3)}: they are left out", file=sys.stderr
            )
    try:
        return base.extended(tokens) if tokens else base
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error


def _declared(directory: pathlib.Path, fields: Mapping[str, Any]) -> Iterator[AddedToken]:
    """Yields the tokens whose ids are in a file."""
    if DECODER in fields:
        given = fields[DECODER]
        if not isinstance(given, dict) or not all(re.fullmatch("[0-9]{1,9}", i) for i in given):
            raise ValueError(f"{directory} has {DECODER} {given!r:.80}: it must map ids to tokens; download it again")
        yield from (_token(directory, token, id=int(i)) for i, token in given.items())
        return
    special = dict(_special({**fields, **_json(directory, "special_tokens_map.json")}))
    for text, i in _json(directory, "added_tokens.json").items():
        is_special = text in special
        yield _token(directory, {"content": text, "normalized": not is_special, "special": is_special}, id=i)
    for token in _json(directory, "tokenizer.json").get("added_tokens", []):
        yield _token(directory, token, id=token.get("id") if isinstance(token, dict) else None)


def _special(fields: Mapping[str, Any]) -> Iterator[tuple[str, AddedToken]]:
    """Yields the tokens that are named or listed without an id."""
    named = [*NAMED, *(name for name in fields if name.endswith("_token") and name not in NAMED)]
    every = [fields[name] for name in named if isinstance(fields.get(name), str | dict)]
    listed = next((fields[name] for name in LISTS if fields.get(name)), [])
    every += listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    for token in every:
        given = {"content": token} if isinstance(token, str) else token
        if isinstance(given, dict) and isinstance(given.get("content"), str):
            yield given["content"], _flagged({**given, "special": True})


def _token(directory: pathlib.Path, given: Any, *, id: Any) -> AddedToken:
    text = given.get("content") if isinstance(given, dict) else None
    if not isinstance(text, str) or type(id) is not int or id < 0:
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
    if own is not None and base.kind == "huggingface":
        return False
    is_sentinel = re.fullmatch(SENTINEL, token.text) is not None
    if not isinstance(base, FileTokenizer):  # ByT5's, which Hugging Face numbers upwards, above the bytes
        return not is_sentinel
    number = int(token.text[len("<extra_id_") : -1]) if is_sentinel else base.num_sentinels
    if number >= base.num_sentinels:
        return True
    if token.id not in (None, base.sentinel_id(number)):
        print(f"{directory} gives {token.text} the id {token.id}: {base.sentinel_id(number)} is used", file=sys.stderr)
    return False


def _json(directory: pathlib.Path, name: str) -> dict[str, Any]:
    return read_json(directory / name) if (directory / name).is_file() else {}
