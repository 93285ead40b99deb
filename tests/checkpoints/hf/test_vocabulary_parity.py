"""Compares vocabularies of the forms that families publish with transformers' Auto class; needs the extra parity."""

import dataclasses
import io
import json

import pytest
import sentencepiece

from t5x_lite.checkpoints.hf.tokenizer import read_tokenizer, save_tokenizer
from t5x_lite.checkpoints.load import save_hf
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer, parse_model
from t5x_lite.model.encoder import Encoder
from t5x_lite.model.transformer import T5 as T5Model
from tests import tiny
from tests.data.tokenizers.test_byte_bpe import NUM_BPE, sentinels, write_bpe
from tests.data.tokenizers.test_sentencepiece import published_vocabulary
from tests.odd_texts import MORE_ODD_TEXTS, ODD_TEXTS

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # of transformers, which are not ours
TEXTS = list(dict.fromkeys([*ODD_TEXTS, *MORE_ODD_TEXTS]))
T5 = {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "eos_token": "</s>", "pad_token": "<pad>"}
IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
RESIDUES = "ALGVSREDTIPKFQNYMHWCXBOUZ"
PROTEINS = [
    "M K T A Y I A K Q R",
    "MKTAYIAKQR",
    "M  K ",
    "",
    "X <extra_id_0> A",
    "M<extra_id_3>K",
    "<AA2fold> M K",
]


def trained(**options):
    """A model with a piece for every character, of all texts without NUL."""
    lines, model = [text for text in TEXTS if text.strip() and "\0" not in text] * 3, io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=900,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **{"byte_fallback": True, **options},
    )
    return model.getvalue()


def model_with(pieces):
    """T5's special pieces and others, each less probable than the one before it."""
    proto = parse_model(trained(**IDS, byte_fallback=False))
    del proto.pieces[3:]
    for place, piece in enumerate(pieces):
        proto.pieces.add(piece=piece, score=-1.0 - place / 10, type=1)
    return proto.SerializeToString()


def tokenizers(directory, content, fields, config):
    """Our tokenizer of a directory, and transformers' of this directory and of what we give back."""
    transformers = pytest.importorskip("transformers", reason="needs the extra parity")
    (directory / "spiece.model").write_bytes(content)
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))
    out = directory / "out"
    out.mkdir()
    for folder in (directory, out):
        (folder / "config.json").write_text(json.dumps({"model_type": "t5"} | config))
    ours = read_tokenizer(directory)
    save_tokenizer(ours, out)
    assert (out / "spiece.model").read_bytes() == content
    return ours, *(transformers.AutoTokenizer.from_pretrained(folder) for folder in (directory, out))


def assert_same_ids(texts, ours, *theirs):
    for opened in theirs:
        assert len(opened) == ours.vocab_size
        for text in texts:
            assert opened(text).input_ids == [*ours.encode(text), ours.eos_id], text


def test_t5s_own_vocabulary_as_t0_and_flan_ul2_have_it(tmp_path):
    content = published_vocabulary("spiece.model").read_bytes()
    assert_same_ids(TEXTS, *tokenizers(tmp_path, content, T5, {"vocab_size": 32128}))


def test_mt5s_form_as_mt0_and_aya_have_it(tmp_path):
    """transformers finds a sentinel there only between spaces, and has no bytes for characters without a piece."""
    plain = SentencePieceTokenizer(trained(**IDS))
    content = plain._processor.serialized_model_proto()
    ours, theirs, again = tokenizers(
        tmp_path, content, T5 | {"extra_ids": 0}, {"model_type": "mt5", "vocab_size": 1024}
    )
    assert_same_ids(TEXTS, ours, again)
    assert_same_ids([text for text in TEXTS if "<extra" not in text and "\0" not in text], ours, theirs)
    assert theirs("\0").input_ids[1] == 2


def test_madlads_form(tmp_path):
    """transformers has no bytes for characters without a piece: they become its unknown id 2, here EOS.

    It also leaves out the space that SentencePiece puts before a language at the beginning.
    """
    content = trained(unk_id=0, bos_id=1, eos_id=2, pad_id=-1, user_defined_symbols=["<2de>", "<2en>"])
    fields = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "<s>", "eos_token": "</s>"}
    ids = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0, "vocab_size": 1024}
    ours, theirs, again = tokenizers(tmp_path, content, fields, ids)
    german = "<2de> Good morning"
    assert_same_ids(TEXTS, ours, again)
    assert_same_ids([text for text in TEXTS if text != german and "\0" not in text], ours, theirs)
    assert theirs("\0").input_ids[1:] == [2, 2]
    assert theirs(german).input_ids == [*ours.encode(german)[1:], 2]


@pytest.mark.parametrize(
    ("pieces", "fields", "vocab_size"),
    [
        pytest.param([f"\u2581{name}" for name in RESIDUES], T5, 128, id="ProtT5"),
        pytest.param(
            [f"\u2581{name}" for name in RESIDUES + RESIDUES[:20].lower()],
            T5
            | {
                "added_tokens_decoder": {
                    "148": {"content": "<fold2AA>", "special": True},
                    "149": {"content": "<AA2fold>", "special": True},
                }
            },
            150,
            id="ProstT5",
        ),
        pytest.param([*RESIDUES, "\u2581"], T5 | {"extra_ids": 115}, 144, id="Ankh"),
    ],
)
def test_vocabularies_of_proteins(tmp_path, pieces, fields, vocab_size):
    ours, *theirs = tokenizers(tmp_path, model_with(pieces), fields, {"vocab_size": vocab_size})
    assert ours.vocab_size == vocab_size
    assert_same_ids(PROTEINS, ours, *theirs)


def exported_tokenizers(directory):
    """One of each kind that is written differently."""
    pieces = SentencePieceTokenizer(trained(**IDS, byte_fallback=False))
    added = [AddedToken(text="<hl>"), AddedToken(text="\n")]
    bpe = read_tokenizer(write_bpe(directory / "bpe", added=sentinels(NUM_BPE, 100)))
    return {
        "pieces": pieces,
        "pieces and added": pieces.extended(added),
        "pieces and bytes": SentencePieceTokenizer(trained(**IDS)),
        "BPE": bpe,
        "BPE and added": bpe.extended(added),
        "ByT5": ByteTokenizer(),
        "ByT5 and added": ByteTokenizer().extended(added),
    }


@pytest.mark.parametrize("is_encoder", [False, True])
@pytest.mark.parametrize("family", ["1.1", "umT5"])
def test_every_export_opens_with_the_auto_classes(family, is_encoder, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the extra parity")
    auto = transformers.AutoModelForTextEncoding if is_encoder else transformers.AutoModelForSeq2SeqLM
    for name, tokenizer in exported_tokenizers(tmp_path).items():
        if family == "umT5" and name.startswith("ByT5"):  # transformers has no class for it
            continue
        pad_id, eos_id, _ = tokenizer.special_ids
        ids = {"vocab_size": tokenizer.padded_vocab_size, "pad_id": pad_id, "eos_id": eos_id}
        cfg = dataclasses.replace(tiny.FAMILY[family], **ids)
        save_hf(tiny.drawn(Encoder if is_encoder else T5Model, cfg), tokenizer, tmp_path / name)
        opened, theirs = (kind.from_pretrained(tmp_path / name) for kind in (transformers.AutoTokenizer, auto))
        assert (opened.pad_token_id, opened.eos_token_id) == (theirs.config.pad_token_id, theirs.config.eos_token_id)
        for text in ("the quick <hl>\nfox", "a<extra_id_0>b", ""):
            if "extra_id" not in text or not name.startswith("ByT5"):
                assert opened(text).input_ids == [*tokenizer.encode(text), eos_id], (name, text)
