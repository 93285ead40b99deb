# SPDX-License-Identifier: Apache-2.0
"""GPT-2's and RoBERTa's byte-level BPE in two files, as a `tokenizer.json`.

Source: transformers 5.24, `tokenization_gpt2.py` and `tokenization_roberta.py`.
"""

import pathlib
from typing import Any

from t5x_lite.data.tokenizers.added_files import read_names, read_tokens, token_text
from t5x_lite.data.tokenizers.huggingface import as_library_token, import_tokenizers
from t5x_lite.data.tokenizers.rules import check_ids
from t5x_lite.files.json_object import MAX_BYTES_OF_A_VOCABULARY, read_json
from t5x_lite.files.reading import read_bytes

FILES = ("vocab.json", "merges.txt")


def as_tokenizer_json(directory: pathlib.Path) -> bytes:
    """Returns the `tokenizer.json` of `vocab.json`, `merges.txt` and the tokens added to them.

    Raises:
      ValueError: if a file is damaged, or the tokenizers library is missing.
    """
    library = import_tokenizers(str(directory))
    vocab, merges = (str(directory / name) for name in FILES)
    check_ids(read_json(directory / FILES[0], MAX_BYTES_OF_A_VOCABULARY), vocab)
    read_bytes(directory / FILES[1], MAX_BYTES_OF_A_VOCABULARY)
    try:
        tokenizer = library.Tokenizer(library.models.BPE.from_file(vocab, merges))
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"{vocab} and merges.txt are not a BPE model ({error}): download them again") from error
    names = read_names(directory)
    space = bool(names.get("add_prefix_space"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=space)
    tokenizer.decoder = library.decoders.ByteLevel()
    for token in read_tokens(directory):
        if token.id is None and tokenizer.token_to_id(token.text) is None:
            continue  # it would lengthen the vocabulary, perhaps beyond the model's
        tokenizer.add_tokens([as_library_token(token)])
        if token.id not in (None, tokenizer.token_to_id(token.text)):
            raise ValueError(
                f"{directory} adds {token.text!r} with the id {token.id}, which does not follow the others: its files "
                "are damaged; download them again"
            )
    if str(names.get("tokenizer_class", "")).startswith("Roberta"):
        texts = [token_text(names[name]) or "" for name in ("cls_token", "sep_token")]
        ids: list[Any] = [tokenizer.token_to_id(text) for text in texts]
        if None in ids:
            raise ValueError(
                f"{vocab} lacks {' or '.join(texts)}, which begin and end RoBERTa's texts: download it again"
            )
        first, last = zip(texts, ids, strict=True)
        tokenizer.post_processor = library.processors.RobertaProcessing(last, first, True, space)
    return tokenizer.to_str().encode()
