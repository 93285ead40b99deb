"""Tests t5x_lite/checkpoints/hf/tokenizer_json.py, with SentencePiece as the oracle; and, live, with transformers."""

import dataclasses
import json

import numpy as np
import pytest

from t5x_lite.checkpoints.extend import extend_vocabulary
from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer
from t5x_lite.checkpoints.hf.tokenizer_json import is_like_t5, tokenizer_json
from t5x_lite.checkpoints.hf.weights import save_model
from t5x_lite.checkpoints.load import load
from t5x_lite.checkpoints.weights import LazyModel, reader
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer, parse_options
from t5x_lite.data.tokenizers.train import fit_sentencepiece_model
from t5x_lite.inference.api import generate
from t5x_lite.model.architectures import ENCODER_DECODER
from tests import tiny
from tests.odd_texts import ODD_TEXTS

NUM_SENTINELS, V = 7, 125
ADDED = [
    AddedToken(text="<hl>", normalized=True),
    AddedToken(text="{"),
    AddedToken(text="\n"),
    AddedToken(text="<sep>", lstrip=True, rstrip=True, special=True),
    AddedToken(text="wug", single_word=True),
]
FORMS = {
    "T5's": {"vocab_size": V},
    "with bytes": {"vocab_size": 370, "byte_fallback": True},
    "BPE": {"vocab_size": V, "model_type": "bpe"},
    "without a space before texts": {"vocab_size": V},
}


def make(form):
    texts = [
        text for text in ODD_TEXTS if text.strip() and "{" not in text and "}" not in text and "wug" not in text
    ] + [f"the quick brown fox {i}" for i in range(50)]
    own = form.endswith("with sentinels")
    options = FORMS[form.removesuffix(" with sentinels")]
    content = fit_sentencepiece_model(texts, num_sentinels=NUM_SENTINELS, **options)
    if form == "without a space before texts":
        proto = parse_options(content)
        proto.normalizer_spec.add_dummy_prefix = False
        content = proto.SerializeToString()
    made = SentencePieceTokenizer(content, NUM_SENTINELS)
    return SentencePieceTokenizer(made._processor.serialized_model_proto(), 3) if own else made


@pytest.fixture(scope="module", params=[*FORMS, "with bytes with sentinels"])
def tokenizer(request):
    return make(request.param)


@pytest.mark.parametrize("added", [[], ADDED, [AddedToken(text="<hl>", id=500)]])
def test_the_tokenizers_library_finds_the_ids_of_sentencepiece(tokenizer, added):
    library = pytest.importorskip("tokenizers", reason="the extra t5x-lite[tokenizers] is not installed")
    tokenizer = tokenizer.extended(added)
    opened = library.Tokenizer.from_str(json.dumps(tokenizer_json(tokenizer)))
    for text in ODD_TEXTS:
        assert opened.encode(text).ids == [*tokenizer.encode(text), tokenizer.eos_id], text
        plain = [i for i in tokenizer.encode(text) if i not in tokenizer.sentinel_ids and i != tokenizer.unk_id]
        assert opened.decode(plain, skip_special_tokens=False).strip() == tokenizer.decode(plain).strip()


def test_only_a_unigram_model_without_bytes_is_like_t5s():
    assert [is_like_t5(make(form)) for form in FORMS] == [True, False, False, False]


@pytest.mark.parametrize("added", [[], ADDED])
def test_what_is_written_is_read_again(tokenizer, added, tmp_path):
    tokenizer = tokenizer.extended(added)
    save_tokenizer(tokenizer, tmp_path)
    again = read_tokenizer(tmp_path)
    assert (again.vocab_size, again.sentinel_ids, again.content) == (
        tokenizer.vocab_size,
        tokenizer.sentinel_ids,
        tokenizer.content,
    )
    assert [again.encode(text) for text in ODD_TEXTS] == [tokenizer.encode(text) for text in ODD_TEXTS]
    assert again.added_tokens == tokenizer.added_tokens


def opened_by_transformers(directory, model_type):
    transformers = pytest.importorskip("transformers", reason="needs the extra parity")
    (directory / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 1000}))
    return transformers.AutoTokenizer.from_pretrained(directory)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("added", [[], ADDED, [AddedToken(text="<hl>", id=500)]])
@pytest.mark.parametrize("model_type", ["t5", "mt5", "umt5"])
def test_transformers_opens_every_exported_tokenizer_with_the_same_ids(tokenizer, model_type, added, tmp_path):
    tokenizer = tokenizer.extended(added)
    save_tokenizer(tokenizer, tmp_path)
    opened = opened_by_transformers(tmp_path, model_type)
    for text in ODD_TEXTS:
        assert opened(text).input_ids == [*tokenizer.encode(text), tokenizer.eos_id], text


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("added", [[], ADDED])
def test_transformers_opens_byt5s_with_the_same_ids_but_for_sentinels(added, tmp_path):
    tokenizer = ByteTokenizer().extended(added)
    save_tokenizer(tokenizer, tmp_path)
    opened = opened_by_transformers(tmp_path, "t5")
    for text in ODD_TEXTS:
        if "extra_id" not in text and "wug." not in text:  # where it takes only spaces for the ends of words
            assert opened(text).input_ids == [*tokenizer.encode(text), tokenizer.eos_id], text


def decoder(*flags):
    """Fields of the tokens of ADDED, each with the flags in one text."""
    names = ("lstrip", "rstrip", "single_word", "normalized", "special")
    every = zip(ADDED, flags, strict=True)
    fields = ({"content": token.text} | {name: name in given for name in names} for token, given in every)
    return {"added_tokens_decoder": {str(V + i): field for i, field in enumerate(fields)}}


DIRECTORIES = {
    "a legacy file": {"added_tokens": {"<hl>": V, "<sep>": V + 1}},
    "a special token in a legacy file": {
        "added_tokens": {"<hl>": V, "<sep>": V + 1},
        "special_tokens_map": {"additional_special_tokens": ["<sep>"]},
    },
    "named tokens": {"tokenizer_config": {"mask_token": "<hl>", "additional_special_tokens": ["<sep>"]}},
    "a decoder": {"tokenizer_config": decoder("normalized", "", "", "lstrip rstrip special", "single_word")},
    "another decoder": {
        "tokenizer_config": decoder("single_word", "normalized lstrip", "rstrip", "single_word normalized", "special")
    },
}


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DIRECTORIES)
def test_tokens_of_a_directory_have_the_ids_that_transformers_finds(name, tmp_path):
    (tmp_path / "spiece.model").write_bytes(make("T5's").content)
    for file, fields in ({"tokenizer_config": {}} | DIRECTORIES[name]).items():
        extra = {"tokenizer_class": "T5Tokenizer", "extra_ids": NUM_SENTINELS} if file == "tokenizer_config" else {}
        (tmp_path / f"{file}.json").write_text(json.dumps(fields | extra))
    opened, ours = opened_by_transformers(tmp_path, "t5"), read_tokenizer(tmp_path)
    assert len(opened) == ours.vocab_size
    for text in ODD_TEXTS:
        if name != "named tokens" or "extra_id" not in text:  # which transformers then takes apart
            assert opened(text).input_ids == [*ours.encode(text), 1], text


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", tiny.FAMILY)
@pytest.mark.parametrize("rows", ["mean", "zero"])
def test_transformers_generates_with_added_tokens_what_we_do(family, rows, tmp_path):
    torch = pytest.importorskip("torch", reason="needs the extra parity")
    transformers = pytest.importorskip("transformers", reason="needs the extra parity")
    tokenizer = make("T5's")
    cfg = dataclasses.replace(tiny.FAMILY[family], vocab_size=256)
    before = LazyModel(cfg, ENCODER_DECODER, tokenizer, 0, np.dtype(np.float32), reader(tiny.model(cfg)))
    model = extend_vocabulary(before, tokenizer, ["{", "\n", "<hl>"], rows)
    assert model.tokenizer is not None
    save_model(tmp_path / "hf", model, model.tokenizer, dtype=model.dtype)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf").eval()
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    found = load(tmp_path / "hf")
    for text in ("the {cat}\n<hl>", "a <extra_id_0>"):
        ids = opened(text).input_ids
        assert ids == [*found.tokenizer.encode(text), 1]
        inputs, decoder_inputs = np.array([ids]), np.array([[0, model.tokenizer.vocab_size - 1, 5]])
        logits = theirs(torch.tensor(inputs), decoder_input_ids=torch.tensor(decoder_inputs), use_cache=False).logits
        ours = tiny.logits(found.model, inputs, decoder_inputs)
        np.testing.assert_allclose(ours, logits.detach().numpy(), rtol=1e-4, atol=1e-4)
        expected = theirs.generate(torch.tensor(inputs), max_new_tokens=8, do_sample=False, use_cache=False)[0].tolist()
        if max(expected) < found.tokenizer.vocab_size:  # padding rows, of random numbers here, are masked in ours
            assert generate(found, [text], max_new_tokens=8)[0] == found.tokenizer.decode(expected[1:])
