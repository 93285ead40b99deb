"""Tests t5x_lite/data/tokenizers/huggingface.py with files that the `tokenizers` library writes."""

import json
import pickle
import sys

import numpy as np
import pytest

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.data.objectives.span_corruption import SpanCorruption
from t5x_lite.data.tokenizers import build_tokenizer, load_tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.huggingface import HuggingFaceTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from tests.paths import SHARED

T5_VOCABULARY = SHARED / "data" / "t5_vocab" / "spiece.model"
LETTERS = "abcdefghijklmnopq"
NUM_IDS = 3 + 1 + len(LETTERS) + 2  # special tokens, a space, letters, two words
NUM_SENTINELS = 5


@pytest.fixture
def library():
    return pytest.importorskip("tokenizers", reason="the extra t5x-lite[tokenizers] is not installed")


def make(library, *, special=("<pad>", "</s>", "<unk>"), sentinels=(), decoder=True):
    """A unigram tokenizer as T5's, with the ids counted above."""
    from tokenizers import decoders, models, pre_tokenizers, processors

    pieces = [(token, 0.0) for token in special]
    pieces += [("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS), ("\u2581ab", -1.0), ("cd", -1.5)]
    made = library.Tokenizer(models.Unigram(pieces, unk_id=special.index("<unk>") if "<unk>" in special else 2))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.add_special_tokens(list(special))
    made.add_special_tokens(list(sentinels))
    if "</s>" in special:
        eos = ("</s>", made.token_to_id("</s>"))
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[eos])
    return made


def content(tokenizer):
    return tokenizer.to_str().encode()


def descending(count):
    return [f"<extra_id_{n}>" for n in reversed(range(count))]


def test_ids_are_those_of_the_library_without_its_eos(library):
    theirs = make(library, sentinels=descending(NUM_SENTINELS))
    ours = HuggingFaceTokenizer(content(theirs))
    text = "abcd <extra_id_0> ab hello"
    assert ours.encode(text) == theirs.encode(text).ids[:-1]
    assert ours.encode("abcd") == [NUM_IDS - 2, NUM_IDS - 1]
    assert (ours.vocab_size, ours.padded_vocab_size) == (NUM_IDS + NUM_SENTINELS, 128)
    assert (ours.pad_id, ours.eos_id, ours.unk_id) == (0, 1, 2)
    assert ours.encode("ab z")[-1] == 2


def test_its_own_sentinels_are_kept(library):
    ours = HuggingFaceTokenizer(content(make(library, sentinels=descending(NUM_SENTINELS))), 100)
    assert ours.num_sentinels == NUM_SENTINELS
    assert ours.sentinel_id(0) == NUM_IDS + NUM_SENTINELS - 1
    assert ours.encode("<extra_id_0><extra_id_4>") == [ours.sentinel_id(0), ours.sentinel_id(4)]


def test_sentinels_it_lacks_are_appended_in_descending_order(library):
    ours = HuggingFaceTokenizer(content(make(library)), NUM_SENTINELS)
    assert (ours.vocab_size, ours.num_sentinels) == (NUM_IDS + NUM_SENTINELS, NUM_SENTINELS)
    for n in range(NUM_SENTINELS):
        assert ours.encode(f"<extra_id_{n}>") == [ours.sentinel_id(n)] == [NUM_IDS + NUM_SENTINELS - 1 - n]
    assert ours.decode(ours.encode("ab <extra_id_3> cd")) == "ab <extra_id_3> cd"


def test_a_piece_of_mt5s_form_counts_as_a_sentinel(library):
    from tokenizers import models, pre_tokenizers

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), ("a", -3.0)]
    made = library.Tokenizer(models.Unigram([*special, *((f"\u2581{t}", 0.0) for t in descending(3))], unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    ours = HuggingFaceTokenizer(content(made))
    assert (ours.num_sentinels, ours.sentinel_id(0), ours.encode("a <extra_id_2>")) == (3, 7, [3, 4, 5])


def test_decoding_stops_at_eos_and_skips_padding_and_ids_outside_the_vocabulary(library):
    ours = HuggingFaceTokenizer(content(make(library)), NUM_SENTINELS)
    ab, sentinel = ours.encode("ab"), ours.sentinel_id(2)
    assert ours.decode([0, *ab, sentinel, 1, *ab]) == "ab<extra_id_2>"
    assert ours.decode([*ab, 10**6, -1, ours.vocab_size]) == ours.decode([*ab, 2, 2, 2]) == "ab<unk><unk><unk>"
    assert ours.decode_batch(np.array([[*ab, 1], [1, *ab]])) == ["ab", ""]


def test_a_batch_encodes_as_its_texts_do(library):
    ours = HuggingFaceTokenizer(content(make(library)), NUM_SENTINELS)
    texts = ["ab cd", "", "a <extra_id_1>", "hello " * 50]
    rows = ours.encode_batch(texts)
    assert [row.tolist() for row in rows] == [ours.encode(text) for text in texts]
    assert {row.dtype for row in rows} == {np.dtype(np.int32)}


def test_truncation_and_padding_of_the_file_are_left_out(library):
    made = make(library)
    made.enable_truncation(3)
    made.enable_padding(length=9)
    assert len(HuggingFaceTokenizer(content(made)).encode("cdcdcdcd")) == 5
    assert [len(row) for row in HuggingFaceTokenizer(content(made)).encode_batch(["cdcdcdcd", "ab"])] == [5, 1]


@pytest.mark.parametrize(
    ("special", "found"),
    [
        (("<unk>", "<pad>", "</s>"), (1, 2, 0)),
        (("</s>", "<unk>", "<pad>"), (2, 0, 1)),
        (("<pad>", "</s>", "[UNK]"), (0, 1, -1)),
    ],
)
def test_special_ids_are_those_of_the_tokens(special, found, library):
    tokenizer = HuggingFaceTokenizer(content(make(library, special=special)))
    assert tokenizer.special_ids == found
    assert pickle.loads(pickle.dumps(tokenizer)).special_ids == found


@pytest.mark.parametrize(
    ("special", "found"),
    [(("<pad>", "<s>", "<unk>"), "padding id 0 and the EOS id -1"), (("[PAD]", "</s>", "<unk>"), "padding id -1")],
)
def test_a_tokenizer_without_padding_or_eos_is_refused(special, found, library):
    with pytest.raises(ValueError, match=rf"x has the {found} .* make one with the tokens <pad>"):
        HuggingFaceTokenizer(content(make(library, special=special)), name="x")


@pytest.mark.parametrize("wrong", [["<extra_id_0>", "<extra_id_1>"], ["<extra_id_1>"]])
def test_sentinels_in_the_wrong_place_are_refused(wrong, library):
    with pytest.raises(ValueError, match=r"has <extra_id_N> pieces that do not descend from its last id"):
        HuggingFaceTokenizer(content(make(library, sentinels=wrong)))


def test_tokens_above_the_sentinels_are_kept(library):
    ours = HuggingFaceTokenizer(content(make(library, sentinels=[*descending(NUM_SENTINELS), "<hl>", "<sep>"])))
    assert (ours.vocab_size, ours.num_sentinels, ours.num_above) == (NUM_IDS + NUM_SENTINELS + 2, NUM_SENTINELS, 2)
    assert ours.sentinel_id(0) == NUM_IDS + NUM_SENTINELS - 1
    ids = [ours.sentinel_id(1), ours.vocab_size - 2, ours.vocab_size - 1]
    assert ours.encode("<extra_id_1><hl><sep>") == ids
    assert ours.decode(ids) == "<extra_id_1><hl><sep>"
    assert ours.added_tokens == ()  # they are in the file


def test_tokens_are_added_above_those_of_the_file(library, tmp_path):
    sentinels = [*descending(NUM_SENTINELS), "<hl>"]
    added = [AddedToken(text="{"), AddedToken(text="\n", lstrip=True)]
    ours = HuggingFaceTokenizer(content(make(library, sentinels=sentinels)), added_tokens=added)
    assert (ours.vocab_size, ours.num_above) == (NUM_IDS + NUM_SENTINELS + 3, 3)
    assert ours.sentinel_id(0) == NUM_IDS + NUM_SENTINELS - 1
    assert ours.encode("ab \n{<hl>")[1:] == [ours.vocab_size - 1, ours.vocab_size - 2, ours.vocab_size - 3]
    ours.save(tmp_path)
    for again in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(ours))):
        assert (again.vocab_size, again.num_above, again.added_tokens) == (ours.vocab_size, 3, ours.added_tokens)
        assert again.encode("ab \n{<hl>") == ours.encode("ab \n{<hl>")
    whole = HuggingFaceTokenizer(ours.file_content())
    assert (whole.vocab_size, whole.added_tokens) == (ours.vocab_size, ())
    assert whole.encode("ab \n{<hl>") == ours.encode("ab \n{<hl>")


def test_an_id_that_the_library_does_not_give_is_refused(library):
    with pytest.raises(ValueError, match=r"cannot have the added token '{' with the id 99: its id is \d+"):
        HuggingFaceTokenizer(content(make(library)), NUM_SENTINELS, added_tokens=[AddedToken(text="{", id=99)])


def test_sentinels_that_the_tokenizer_takes_apart_are_refused(library):
    """In the vocabulary, and not among the added tokens: the pre-tokenizer cuts them at the underscores."""
    from tokenizers import models, pre_tokenizers

    words = ["<pad>", "</s>", "<unk>", "a", *descending(2)]
    made = library.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    with pytest.raises(ValueError, match=r"x encodes <extra_id_0> as \[2, .*needs the single id 5: add"):
        HuggingFaceTokenizer(content(made), name="x")


def test_ids_with_a_gap_below_which_sentinels_would_be_appended_are_refused(library):
    from tokenizers import models

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 9}
    made = library.Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    with pytest.raises(ValueError, match=r"x encodes <extra_id_0> as \[\d+\], but t5x_lite needs the single id 11"):
        HuggingFaceTokenizer(content(made), 2, name="x")


@pytest.mark.parametrize("damaged", [b"", b"{}", b"[]", b"\xff\xfe", b"hello", "half"])
def test_a_file_that_is_no_tokenizer_is_refused_by_name(damaged, library, tmp_path):
    whole = content(make(library))
    (tmp_path / "tokenizer.json").write_bytes(whole[: len(whole) // 2] if damaged == "half" else damaged)
    with pytest.raises(ValueError, match=r"tokenizer.json is not a Hugging Face tokenizer \(.+\): name the tokenizer"):
        HuggingFaceTokenizer.from_file(tmp_path / "tokenizer.json")


def test_a_file_at_which_the_library_panics_or_that_knows_no_unknown_text_is_refused(library, capfd):
    stored = json.loads(make(library).to_str())
    panics = stored | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": 1.5}}
    without_unknown = stored | {"model": stored["model"] | {"unk_id": None, "unk_token": None}}
    for fields, message in ((panics, "x has a damaged map of"), (without_unknown, "x is not a Hugging Face tokenizer")):
        with pytest.raises(ValueError, match=message):
            HuggingFaceTokenizer(json.dumps(fields).encode(), name="x")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match=r"x needs Hugging Face's tokenizers library: pip install 't5x-lite\[tokenize"):
        HuggingFaceTokenizer(b"{}", name="x")


def test_it_comes_by_path_or_by_kind_and_is_kept_as_it_came(library, tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(content(make(library)) + b"\n")
    (tmp_path / "mine").write_bytes(path.read_bytes())
    for cfg in (TokenizerConfig(path=str(path)), TokenizerConfig(kind="huggingface", path=str(tmp_path / "mine"))):
        made = build_tokenizer(cfg, [])
        made.save(tmp_path)
        assert (tmp_path / "tokenizer.json").read_bytes() == path.read_bytes()
        assert json.loads((tmp_path / "vocabulary.json").read_text()) == {"kind": "huggingface", "num_sentinels": 100}
        loaded = load_tokenizer(tmp_path)
        assert isinstance(loaded, HuggingFaceTokenizer)
        assert loaded.vocab_size == NUM_IDS + 100
        assert loaded.encode("ab <extra_id_99>") == made.encode("ab <extra_id_99>")


def test_it_pickles_as_little_more_than_its_file(library):
    ours = HuggingFaceTokenizer(content(make(library)), NUM_SENTINELS)
    pickled = pickle.dumps(ours)
    assert len(pickled) < len(ours.content) + 500
    assert pickle.loads(pickled).encode("ab <extra_id_2>") == ours.encode("ab <extra_id_2>")


def test_span_corruption_marks_spans_with_its_sentinels(library):
    ours = HuggingFaceTokenizer(content(make(library)))
    objective = SpanCorruption.from_task(TaskConfig(), ours, inputs_length=40, targets_length=None, seed=0)
    tokens = np.full((1, objective.chunk_length), ours.encode("cd")[-1], np.int32)
    example = objective(tokens, np.array([3]))
    inputs, targets = (ours.decode(example[name][0]) for name in ("inputs", "targets"))
    assert targets.startswith("<extra_id_0>cd")
    assert all(f"<extra_id_{n}>" in inputs and f"<extra_id_{n}>" in targets for n in (0, 1))


def test_t5s_vocabulary_gives_t5s_ids(library):
    """T5's pieces and character map in a tokenizer.json, put together as Hugging Face's is."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

    if not T5_VOCABULARY.is_file():
        pytest.skip(f"{T5_VOCABULARY} is not here")
    proto = sentencepiece_model_pb2.ModelProto.FromString(T5_VOCABULARY.read_bytes())
    made = library.Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], unk_id=2))
    characters = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    made.normalizer = normalizers.Sequence([characters, normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    ours = HuggingFaceTokenizer(content(made))
    assert (ours.vocab_size, ours.padded_vocab_size, ours.sentinel_id(0)) == (32_100, 32_128, 32_099)
    text = "translate English to German: That is good."
    assert ours.encode(text) == [13959, 1566, 12, 2968, 10, 466, 19, 207, 5]
    assert ours.decode(ours.encode(text)) == text
    theirs = SentencePieceTokenizer.from_file(T5_VOCABULARY)
    texts = ["The na\u00efve  caf\u00e9, \u2460 \ufb01ne\u2026", "Das Gef\u00fchl: 3,14159!", "\u4e16\u754c"]
    assert [ours.encode(text) for text in texts] == [theirs.encode(text) for text in texts]


def test_surfaces_are_what_the_ids_of_a_text_add_up_to(library):
    tokenizer = HuggingFaceTokenizer(make(library).to_str().encode(), NUM_SENTINELS)
    surfaces = tokenizer.surfaces()
    assert (len(surfaces), surfaces[:3]) == (tokenizer.vocab_size, ["", "", "\ufffd"])
    assert "".join(surfaces[i] for i in tokenizer.encode("ab cdq a")) == " ab cdq a"


def test_a_token_of_wordpiece_begins_a_word_unless_it_says_that_it_goes_on(library):
    from tokenizers import models, pre_tokenizers

    words = ["<pad>", "</s>", "<unk>", "ab", "##cd", "q", "<extra_id_0>"]
    made = library.Tokenizer(models.WordPiece(dict(zip(words, range(7), strict=True)), unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["<pad>", "</s>", "<unk>", "<extra_id_0>"])
    tokenizer = HuggingFaceTokenizer(made.to_str().encode(), 1)
    assert [tokenizer.surfaces()[i] for i in tokenizer.encode("abcd q")] == [" ab", "cd", " q"]
