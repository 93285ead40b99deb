"""Compares models with those of Hugging Face, made afresh; needs torch and transformers (`pip install -e '.[parity]'`).

Shape letters: B batch, T target tokens.
"""

import importlib
import sys

import numpy as np
import pytest

from t5x_lite.checkpoints.hf.tokenizer import save_tokenizer
from t5x_lite.checkpoints.hf.weights import save_weights
from tests.checkpoints.hf.test_tokenizer import TEXT, model  # noqa: F401 - a fixture
from tests.checkpoints.hf.test_weights import assert_same_numbers, assert_same_tokens, computed
from tests.checkpoints.layouts import files_of, open_hf
from tests.odd_texts import DISPUTED_TEXTS, MORE_ODD_TEXTS, ODD_TEXTS
from tests.paths import ROOT

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # of torch and transformers, which are not ours
FAMILIES = (
    *("t5", "t5_1_1", "mt5", "byt5", "umt5", "ul2"),
    *("madlad", "exact", "fred", "codet5", "ankh", "prot", "gelu"),
    *("aya", "mt0", "t0", "flan_ul2"),
)


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The script, and the directory it wrote into with another seed than that of the stored files."""
    pytest.importorskip("torch", reason="needs the extra parity")
    pytest.importorskip("transformers", reason="needs the extra parity")
    scripts = ROOT / "scripts"
    sys.path.insert(0, str(scripts))
    try:
        module = importlib.import_module("make_golden_hf")
    finally:
        sys.path.remove(str(scripts))
    directory = tmp_path_factory.mktemp("golden")
    for family in FAMILIES:
        module.write_family(family, directory / family, seed=5)
    return module, directory


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_model_computes_what_hugging_faces_does(golden, family):
    assert_same_numbers(*computed(family, golden[1]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_fresh_model_decodes_what_hugging_faces_does(golden, family, num_beams):
    assert_same_tokens(family, num_beams, golden[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_opens_what_is_exported_and_computes_the_same(golden, family, tmp_path):
    import transformers

    module, directory = golden
    checkpoint = open_hf(directory / family)
    with files_of(10_000):
        save_weights(tmp_path, checkpoint.config, checkpoint.read, dtype=np.dtype(np.float32))
    opened = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    again = module.compute(opened, seed=5)
    expected = dict(np.load(directory / family / "expected.npz"))
    np.testing.assert_allclose(again["logits_BTV"], expected["logits_BTV"], rtol=1e-6, atol=1e-6)
    for name in ("greedy_BT", "beam_BT"):
        np.testing.assert_array_equal(again[name], expected[name])


def test_transformers_opens_an_exported_tokenizer_and_finds_the_same_ids(golden, model, tmp_path):  # noqa: F811
    import transformers

    from t5x_lite.data.tokenizers.bytes import ByteTokenizer
    from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer

    for tokenizer, text in ((SentencePieceTokenizer(model, 7), TEXT), (ByteTokenizer(), "Grüße, 12 €")):
        directory = tmp_path / tokenizer.kind
        directory.mkdir()
        save_tokenizer(tokenizer, directory)
        opened = transformers.AutoTokenizer.from_pretrained(directory)
        assert opened(text).input_ids == [*tokenizer.encode(text), tokenizer.eos_id]
        plain = text.replace("<extra_id_0> ", "")  # behind a sentinel or before it, transformers has no space
        assert opened.decode(tokenizer.encode(plain)) == tokenizer.decode(tokenizer.encode(plain))


@pytest.mark.parametrize("name", ["RobertaTokenizer", "GPT2Tokenizer"])
def test_byte_level_bpe_finds_the_ids_of_transformers(golden, name, tmp_path):
    """In the files of CodeT5+ and FRED-T5, and given back; only RoBERTa's tokenizer appends EOS there."""
    import transformers

    from t5x_lite.data.tokenizers.directory import read_directory
    from tests.data.tokenizers.test_byte_bpe import NUM_BPE, sentinels, write_bpe

    added = sentinels(NUM_BPE, 100) if name == "RobertaTokenizer" else {"<LM>": NUM_BPE, "<extra_id_0>": NUM_BPE + 1}
    directory = write_bpe(tmp_path / "files", added=added, tokenizer_class=name)
    ours = read_directory(directory)
    (tmp_path / "exported").mkdir()
    save_tokenizer(ours, tmp_path / "exported")
    eos = [ours.eos_id] if name == "RobertaTokenizer" else []
    for opened in (directory, tmp_path / "exported"):
        theirs = transformers.AutoTokenizer.from_pretrained(opened)
        for text in (*ODD_TEXTS, *MORE_ODD_TEXTS, *DISPUTED_TEXTS):
            assert theirs(text).input_ids == [*ours.encode(text), *eos], text
