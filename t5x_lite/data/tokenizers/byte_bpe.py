# SPDX-License-Identifier: Apache-2.0
"""GPT-2's and RoBERTa's byte-level BPE in two files, as a `tokenizer.json`.

Source: transformers 5.24, `tokenization_gpt2.py` and `tokenization_roberta.py`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from t5x_lite.data.tokenizers.directory import BPE_FILES, read_if_there, token_text
from t5x_lite.files.json_object import read_json

ROBERTA = {"cls_token": "<s>", "sep_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"}
ROBERTA |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
ATTRIBUTES = ("lstrip", "rstrip", "single_word", "normalized")


def as_tokenizer_json(directory: pathlib.Path, named: Mapping[str, Any]) -> bytes:
    """Returns the `tokenizer.json` of `vocab.json`, `merges.txt` and the tokens added to them.

    Args:
      directory: the directory of the files.
      named: the fields of `tokenizer_config.json` and `special_tokens_map.json`.

    Raises:
      ValueError: if a file is damaged, or the tokenizers library is missing.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            f"{directory} has a BPE tokenizer, which needs Hugging Face's tokenizers library: pip install "
            "'t5x-lite[tokenizers]'"
        ) from error
    from tokenizers import decoders, models, pre_tokenizers, processors

    vocab, merges = (str(directory / name) for name in BPE_FILES)
    try:
        model = models.BPE.from_file(vocab, merges)
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"{vocab} and merges.txt are not a BPE model ({error}): download them again") from error
    is_roberta = str(named.get("tokenizer_class", "")).startswith("Roberta")
    named = ROBERTA | dict(named) if is_roberta else named
    tokenizer, space = tokenizers.Tokenizer(model), bool(named.get("add_prefix_space"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    tokenizer.decoder = decoders.ByteLevel()
    for i, token, is_special in _added_tokens(directory, named):
        (tokenizer.add_special_tokens if is_special else tokenizer.add_tokens)([tokenizers.AddedToken(**token)])
        if i is not None and tokenizer.token_to_id(token["content"]) != i:
            raise ValueError(
                f"{directory} adds {token['content']!r} with the id {i}, which does not follow the others: its files "
                "are damaged; download them again"
            )
    if is_roberta:
        texts = [token_text(named[name]) or ROBERTA[name] for name in ("cls_token", "sep_token")]
        ids: list[Any] = [tokenizer.token_to_id(text) for text in texts]
        if None in ids:
            raise ValueError(
                f"{vocab} lacks {' or '.join(texts)}, which begin and end RoBERTa's texts: download it again"
            )
        first, last = zip(texts, ids, strict=True)
        tokenizer.post_processor = processors.RobertaProcessing(last, first, True, space)
    return tokenizer.to_str().encode()


def _added_tokens(directory: pathlib.Path, named: Mapping[str, Any]) -> list[tuple[int | None, dict[str, Any], bool]]:
    """Returns (id or None, `AddedToken`'s fields, whether it is special) of the tokens beside the vocabulary.

    Those with ids come first, in their order, and then special tokens that are only named.
    """
    vocabulary = read_json(directory / BPE_FILES[0])
    listed = named.get("additional_special_tokens") or named.get("extra_special_tokens") or []
    special = [named[name] for name in named if name.endswith("_token") and token_text(named[name])]
    special += listed if isinstance(listed, list) else []
    texts = {token_text(token) for token in special}
    decoder = named.get("added_tokens_decoder")
    if isinstance(decoder, Mapping):
        added = {int(i): dict(token) for i, token in decoder.items()}
    else:
        stored = read_if_there(directory / "added_tokens.json")
        added = {i: {"content": text, "normalized": text not in texts} for text, i in stored.items()}
    known = {token["content"] for token in added.values()}
    rows: list[tuple[int | None, dict[str, Any], bool]] = [
        (i, _fields(token), bool(token.get("special", token["content"] in texts))) for i, token in sorted(added.items())
    ]
    for token in special:
        text = token_text(token)
        if text not in known and text in vocabulary:  # others would lengthen the vocabulary beyond the model's
            known.add(text)
            rows.append((None, _fields(token if isinstance(token, Mapping) else {"content": text}), True))
    return rows


def _fields(token: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: bool(token[name]) for name in ATTRIBUTES if name in token}
    return {"content": token["content"], "normalized": False} | fields
