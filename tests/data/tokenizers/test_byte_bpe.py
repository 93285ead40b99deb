"""Tests t5x_lite/data/tokenizers/byte_bpe.py with tiny vocabularies in GPT-2's and RoBERTa's files.

tests/checkpoints/hf/test_parity.py compares them with transformers.
"""

import json
import pickle

import numpy as np
import pytest

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers import build_tokenizer, load_tokenizer
from t5x_lite.data.tokenizers.base import SpecialIds
from t5x_lite.data.tokenizers.directory import read_directory

pytest.importorskip("tokenizers", reason="needs the extra tokenizers")
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
NUM_BPE = 5 + 256 + 2


def write_bpe(directory, *, tokens=SPECIAL, added=None, tokenizer_class="RobertaTokenizer", **fields):
    """Writes vocab.json and merges.txt, with all bytes and the merges "ab" and " ab", and the files beside them."""
    from tokenizers import pre_tokenizers

    pieces = [*tokens, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "\u0120ab"]
    directory.mkdir(exist_ok=True)
    files = {
        "vocab.json": {piece: i for i, piece in enumerate(pieces)},
        "special_tokens_map.json": {"pad_token": "<pad>", "eos_token": {"content": "</s>", "lstrip": False}}
        | {"bos_token": "<s>", "unk_token": "<unk>", "mask_token": {"content": "<mask>", "lstrip": True}},
        "tokenizer_config.json": {"tokenizer_class": tokenizer_class} | fields,
        "config.json": {"model_type": "t5", "pad_token_id": 0, "eos_token_id": 2},
    }
    if added:
        files["added_tokens.json"] = added
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    (directory / "merges.txt").write_text("#version: 0.2\na b\n\u0120 ab\n", encoding="utf-8")
    return directory


def sentinels(first, num):
    return {f"<extra_id_{n}>": first + num - 1 - n for n in range(num)}


def test_roberta_s_texts_begin_with_its_first_token_which_decoding_drops(tmp_path):
    tokenizer = read_directory(write_bpe(tmp_path / "codet5", added=sentinels(NUM_BPE, 3)))
    assert tokenizer.special_ids == SpecialIds(0, 2, 3)
    assert (tokenizer.vocab_size, tokenizer.num_sentinels) == (NUM_BPE + 3, 3)
    ids = tokenizer.encode("ab ab<extra_id_0>\n")
    assert ids[:3] == [1, NUM_BPE - 2, NUM_BPE - 1]
    assert tokenizer.sentinel_id(0) == NUM_BPE + 2 == ids[3]
    np.testing.assert_array_equal(tokenizer.encode_batch(["ab ab<extra_id_0>\n"])[0], ids)
    assert tokenizer.decode([*ids, 2, 0, 0]) == "ab ab<extra_id_0>\n"


def test_gpt_2_s_texts_begin_with_nothing(tmp_path):
    added = {"<LM>": NUM_BPE, "<extra_id_0>": NUM_BPE + 1, "<extra_id_1>": NUM_BPE + 2}
    tokenizer = read_directory(write_bpe(tmp_path / "fred", added=added, tokenizer_class="GPT2Tokenizer"))
    assert tokenizer.encode("<LM>ab<extra_id_1>") == [NUM_BPE, NUM_BPE - 2, NUM_BPE + 2]
    assert tokenizer.num_sentinels == 0  # they ascend, so that no objective may use them
    assert tokenizer.special_ids == SpecialIds(0, 2, 3)


def test_a_tokenizer_of_two_files_is_saved_in_one(tmp_path):
    directory = write_bpe(tmp_path / "codet5", added=sentinels(NUM_BPE, 3))
    tokenizer = build_tokenizer(TokenizerConfig(path=str(directory)), ())
    saved = tmp_path / "saved"
    saved.mkdir()
    tokenizer.save(saved)
    for copy in (load_tokenizer(saved), pickle.loads(pickle.dumps(tokenizer)), read_directory(saved)):
        assert copy.special_ids == tokenizer.special_ids
        assert copy.encode("Grüße, ab") == tokenizer.encode("Grüße, ab")
        assert copy.decode(copy.encode("Grüße, ab")) == "Grüße, ab"


def test_tokens_are_shown_as_text(tmp_path):
    tokenizer = read_directory(write_bpe(tmp_path / "fred", tokenizer_class="GPT2Tokenizer"))
    surfaces = tokenizer.surfaces()
    assert surfaces[:4] == ["", "<s>", "", "\ufffd"]
    assert surfaces[NUM_BPE - 1] == " ab"
    assert "\n" in surfaces
    assert [surfaces[i] for i in tokenizer.encode("é")] == ["\ufffd", "\ufffd"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"added": {"<LM>": NUM_BPE + 1}}, rf"adds '<LM>' with the id {NUM_BPE + 1}, which does not follow"),
        ({"tokens": ("<pad>", "</s>", "<unk>")}, r"vocab.json lacks <s> or </s>, which begin and end RoBERTa's texts"),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        read_directory(write_bpe(tmp_path / "bpe", **fields))


def test_a_damaged_file_is_named(tmp_path):
    directory = write_bpe(tmp_path / "bpe")
    (directory / "merges.txt").write_text("a b c d\n")
    with pytest.raises(ValueError, match=r"vocab.json and merges.txt are not a BPE model"):
        read_directory(directory)
