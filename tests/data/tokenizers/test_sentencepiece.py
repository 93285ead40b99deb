"""Tests t5x_lite/data/tokenizers/sentencepiece.py"""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
from google.protobuf.message import DecodeError

from t5x_lite.data.tokenizers import load_tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.base import SpecialIds
from t5x_lite.data.tokenizers.sentencepiece import UNKNOWN, USER_DEFINED, SentencePieceTokenizer, parse_model
from t5x_lite.data.tokenizers.train import fit_sentencepiece_model
from tests.paths import SHARED

T5_VOCABULARIES = SHARED / "data" / "t5_vocab"
TEXTS = [
    f"The {a} fox {v} over {n} lazy dogs." for a in ("quick", "brown") for v in ("jumps", "leaps") for n in range(9)
]
NUM_SENTINELS, VOCAB_SIZE = 7, 47


def published_vocabulary(name):
    path = T5_VOCABULARIES / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture(scope="module")
def model():
    return fit_sentencepiece_model(TEXTS, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)


@pytest.fixture(scope="module")
def tokenizer(model):
    return SentencePieceTokenizer(model, NUM_SENTINELS)


def foreign_model(path, **ids):
    """A vocabulary as other families have it, for example unknown 0, BOS 1, EOS 2 and no pad."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(path), vocab_size=41, minloglevel=2, **ids
    )
    return path.with_name(path.name + ".model")


def test_t5s_vocabulary_gives_t5s_ids():
    t5 = SentencePieceTokenizer.from_file(published_vocabulary("spiece.model"))
    ids = [13959, 1566, 12, 2968, 10, 466, 19, 207, 5]
    assert t5.encode("translate English to German: That is good.") == ids
    assert t5.decode(ids) == "translate English to German: That is good."
    assert (t5.vocab_size, t5.padded_vocab_size, t5.sentinel_id(0), t5.sentinel_id(99)) == (32100, 32128, 32099, 32000)


def test_seqios_toy_vocabulary_gives_seqios_ids():
    toy = SentencePieceTokenizer.from_file(published_vocabulary("seqio_26pieces.model"), 10)
    assert toy.vocab_size == 36
    assert toy.encode("The quick brown fox.") == [3, 2, 20, 4, 3, 2, 8, 13, 2, 3, 2, 23, 7, 19, 22, 3, 2, 7, 2]
    assert toy.encode("<extra_id_0> <extra_id_1> v <extra_id_9>") == [35, 34, 3, 25, 26]
    assert toy.decode([35, 34, 3, 25, 26]) == "<extra_id_0> <extra_id_1> v <extra_id_9>"


def test_a_trained_vocabulary_has_the_size_asked_for_and_t5s_special_ids(tokenizer):
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert tokenizer.padded_vocab_size == 128
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2)
    assert tokenizer.encode("\u4e16")[-1] == tokenizer.unk_id


def test_text_and_sentinels_survive_encoding(tokenizer):
    text = "The quick <extra_id_0> jumps <extra_id_6> dogs."
    ids = tokenizer.encode(text)
    assert VOCAB_SIZE - 1 in ids
    assert VOCAB_SIZE - 1 - 6 in ids
    assert tokenizer.decode(ids) == text


def test_decoding_stops_at_eos_and_skips_padding_and_marks_ids_outside_the_vocabulary(tokenizer):
    fox, dogs = tokenizer.encode("fox"), tokenizer.encode("dogs")
    assert tokenizer.decode([0, *fox, 0, *dogs, 1, *fox]) == "fox dogs"
    unknown = " \u2047 "  # as in SeqIO
    assert tokenizer.decode([*fox, VOCAB_SIZE, *dogs]) == tokenizer.decode([*fox, 2, *dogs]) == f"fox{unknown} dogs"
    assert tokenizer.decode([*fox, 127, 10**6, -1]) == f"fox{unknown * 3}"
    assert tokenizer.decode_batch(np.array([[*fox, 1], [1, *fox]])) == ["fox", ""]


def test_a_batch_encodes_as_its_texts_do(tokenizer):
    rows = tokenizer.encode_batch(TEXTS)
    assert [row.tolist() for row in rows] == [tokenizer.encode(text) for text in TEXTS]
    assert {row.dtype for row in rows} == {np.dtype(np.int32)}


def test_sentinels_a_model_already_has_are_not_appended_again(tokenizer, tmp_path):
    path = tmp_path / "with_sentinels.model"
    path.write_bytes(tokenizer._processor.serialized_model_proto())
    again = SentencePieceTokenizer.from_file(path, 100)
    assert (again.vocab_size, again.num_sentinels) == (VOCAB_SIZE, NUM_SENTINELS)
    assert again.encode("fox <extra_id_3>") == tokenizer.encode("fox <extra_id_3>")


def test_a_model_with_sentinels_in_the_wrong_place_is_refused(tmp_path):
    path = foreign_model(
        tmp_path / "early", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=["<extra_id_0>"]
    )
    with pytest.raises(ValueError, match=r"early.model has <extra_id_N> pieces that do not descend from its last id"):
        SentencePieceTokenizer.from_file(path)


def test_a_model_without_padding_is_refused(tmp_path):
    path = foreign_model(tmp_path / "llama", unk_id=0, bos_id=1, eos_id=2)
    with pytest.raises(ValueError, match=r"llama.model has the padding id -1 and the EOS id 2 .* use a T5 vocabulary"):
        SentencePieceTokenizer.from_file(path)


def test_special_ids_are_the_models_or_given_and_are_kept(tmp_path):
    """MADLAD-400 pads with <s>, as only its configuration says."""
    own = SentencePieceTokenizer.from_file(foreign_model(tmp_path / "own", unk_id=0, bos_id=-1, eos_id=2, pad_id=1))
    assert own.special_ids == (1, 2, 0)
    given = SpecialIds(1, 2, 0)
    path = foreign_model(tmp_path / "madlad", unk_id=0, bos_id=1, eos_id=2)
    tokenizer = SentencePieceTokenizer.from_file(path, 0, special_ids=given)
    tokenizer.save(tmp_path)
    for copy in (tokenizer, load_tokenizer(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.special_ids == given
        assert copy.vocab_size == tokenizer.vocab_size
        ids = copy.encode("the fox \u4e2d")
        assert 0 in ids
        assert copy.decode([*ids, 1, 2, 7]) == copy.decode(ids) != ""


NO_MODELS = [b"", b"hello world\n" * 50, bytes(range(256)), b"\x00" * 9, "cut in a piece", "cut after a piece"]


@pytest.mark.parametrize("content", NO_MODELS)
def test_a_file_that_is_no_model_is_refused_by_name_and_quietly(content, model, tmp_path, capfd):
    path = tmp_path / "notes.txt"
    proto = parse_model(model)
    whole_pieces = type(proto)(pieces=proto.pieces[:30]).SerializeToString()
    assert model.startswith(whole_pieces)
    cut = {"cut in a piece": whole_pieces[:-1], "cut after a piece": whole_pieces}
    path.write_bytes(cut.get(content, content))
    with pytest.raises(ValueError, match=r"notes.txt is not a SentencePiece model: name the .model file"):
        SentencePieceTokenizer.from_file(path)
    assert capfd.readouterr() == ("", "")


def test_a_model_of_mt5s_form_keeps_its_own_sentinels(tmp_path):
    """mT5's file has its 100 sentinels as its last pieces, after bytes for the characters it lacks."""
    plain = fit_sentencepiece_model(TEXTS, vocab_size=399, num_sentinels=100, byte_fallback=True, model_type="bpe")
    path = tmp_path / "sentencepiece.model"
    path.write_bytes(SentencePieceTokenizer(plain, 100)._processor.serialized_model_proto())
    mt5 = SentencePieceTokenizer.from_file(path, 7)
    assert (mt5.vocab_size, mt5.num_sentinels, mt5.padded_vocab_size) == (399, 100, 512)
    assert (mt5.sentinel_id(0), mt5.sentinel_id(99)) == (398, 299)
    assert mt5.encode("fox <extra_id_0> <extra_id_99>")[-2:] == [398, 299]
    assert mt5.unk_id not in mt5.encode("\u4e16")
    assert mt5.decode(mt5.encode("fox \u4e16 <extra_id_99>")) == "fox \u4e16 <extra_id_99>"


def test_pieces_spell_the_text_and_have_its_ids(tokenizer):
    text = "The quick fox <extra_id_2> dogs."
    pieces = tokenizer.pieces(text)
    assert "".join(pieces).replace("\u2581", " ").strip() == text
    assert [tokenizer._processor.piece_to_id(piece) for piece in pieces] == tokenizer.encode(text)
    assert "\u2581<extra_id_2>" in pieces


def test_a_model_pickles_as_little_more_than_its_file(tokenizer):
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < len(tokenizer.content) + 500
    assert pickle.loads(pickled).encode("fox <extra_id_2>") == tokenizer.encode("fox <extra_id_2>")


def test_a_sentinel_that_does_not_exist_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"no <extra_id_7>: task.tokenizer.num_sentinels is 7"):
        tokenizer.sentinel_id(7)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("def f(<extra_id_0>):", [20, 89, 3, 89, 599, 32099, 3, 61, 10]),
        ('"<extra_id_0>"', [96, 32099, 96]),
        ("a <extra_id_0><extra_id_1> b", [3, 9, 32099, 32098, 3, 115]),
        ("x<extra_id_0>", [3, 226, 32099]),
        ("<extra_id_99>x<extra_id_100>", [32000, 3, 226, 2, 25666, 834, 23, 26, 834, 2915, 3155]),
        ("  <extra_id_5> \n<extra_id_6>  ", [32094, 32093]),
        ("", []),
    ],
)
def test_a_sentinel_beside_any_character_is_one_id(text, ids):
    """The ids are those of transformers 5.24's T5Tokenizer."""
    t5 = SentencePieceTokenizer.from_file(published_vocabulary("spiece.model"))
    assert t5.encode(text) == t5.encode_batch([text])[0].tolist() == ids


def test_tokens_of_a_fine_tuned_t5_have_the_ids_of_transformers():
    """The ids and texts are those of transformers 5.24's T5Tokenizer."""
    added = [AddedToken(text="<hl>", id=32100, normalized=True), AddedToken(text="\n"), AddedToken(text="{")]
    t5 = SentencePieceTokenizer.from_file(published_vocabulary("spiece.model"), added_tokens=added)
    assert (t5.vocab_size, t5.padded_vocab_size, t5.sentinel_id(0), t5.num_above) == (32103, 32128, 32099, 3)
    assert t5.encode("a <hl> b") == [3, 9, 32100, 3, 115]
    assert t5.encode("a<hl>b") == [3, 9, 32100, 3, 115]
    assert t5.encode("a \uff1chl\uff1e b") == [3, 9, 32100, 3, 115]
    assert t5.encode("a\nb {c}") == [3, 9, 32101, 3, 115, 32102, 3, 75, 2]
    assert t5.decode([3, 9, 32100, 3, 115, 32101, 32101, 32102]) == "a<hl> b\n\n{"
    assert t5.surfaces()[-3:] == ["<hl>", "\n", "{"]


def test_added_tokens_are_saved_and_pickled(tokenizer, tmp_path):
    added = [AddedToken(text="{ }", rstrip=True), AddedToken(text="<sep>", id=VOCAB_SIZE + 5)]
    ours = SentencePieceTokenizer(tokenizer.content, NUM_SENTINELS, added_tokens=added)
    ours.save(tmp_path)
    text = "The fox{ } <sep><extra_id_6>jumps"
    for again in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(ours))):
        assert (again.vocab_size, again.added_tokens) == (VOCAB_SIZE + 6, ours.added_tokens)
        assert again.encode(text) == ours.encode(text)
        assert again.decode(again.encode(text)) == "The fox{ }<sep> <extra_id_6> jumps"
    assert ours.sentinel_ids == tokenizer.sentinel_ids


def test_ids_between_a_vocabulary_and_an_added_token_are_unknown(tokenizer):
    ours = SentencePieceTokenizer(
        tokenizer.content, NUM_SENTINELS, added_tokens=[AddedToken(text="<sep>", id=VOCAB_SIZE + 2)]
    )
    assert ours.decode([VOCAB_SIZE, VOCAB_SIZE + 2]) == " \u2047 <sep>"
    assert ours.surfaces()[VOCAB_SIZE:] == ["\ufffd", "\ufffd", "<sep>"]


def test_a_piece_of_the_vocabulary_keeps_its_id_as_an_added_token(tokenizer):
    piece = tokenizer._processor.id_to_piece(12)
    ours = SentencePieceTokenizer(tokenizer.content, NUM_SENTINELS, added_tokens=[AddedToken(text=piece)])
    assert ours.vocab_size == VOCAB_SIZE
    assert ours.encode(f"fox{piece}fox") == [*tokenizer.encode("fox"), 12, *tokenizer.encode("fox")]


def test_an_added_token_cannot_take_the_id_of_another(tokenizer):
    with pytest.raises(ValueError, match=r"cannot have the added token '<sep>' with the id 12"):
        SentencePieceTokenizer(tokenizer.content, NUM_SENTINELS, added_tokens=[AddedToken(text="<sep>", id=12)])


def test_a_long_text_is_encoded_in_parts_to_the_same_ids(model, monkeypatch):
    tokenizer = SentencePieceTokenizer(model)
    texts = ["  ".join(TEXTS) + " and so on  ", " ".join(TEXTS), "x" * 90, ""]
    whole = [tokenizer.encode(text) for text in texts]
    for size in (1, 7, 40):
        monkeypatch.setattr("t5x_lite.data.tokenizers.sentencepiece.PART_CHARACTERS", size)
        assert len(tokenizer._parts(texts[1])) > 3
        assert [ids.tolist() for ids in tokenizer.encode_batch(texts)] == whole


def test_surfaces_are_what_the_ids_of_a_text_add_up_to(tokenizer):
    surfaces = tokenizer.surfaces()
    assert len(surfaces) == tokenizer.vocab_size
    assert surfaces[:3] == ["", "", "\ufffd"]
    text = TEXTS[0]
    assert "".join(surfaces[i] for i in tokenizer.encode(text)) == f" {text}"
    assert surfaces[tokenizer.sentinel_id(0)].strip() == "<extra_id_0>"


def test_a_byte_that_is_a_piece_of_its_own_is_what_it_stands_for():
    model = fit_sentencepiece_model(TEXTS, vocab_size=302, num_sentinels=5, byte_fallback=True)
    tokenizer = SentencePieceTokenizer(model, 5)
    assert [tokenizer.surfaces()[i] for i in tokenizer.encode("~\u00e4")] == [" ", "~", "\ufffd", "\ufffd"]


SMALL = fit_sentencepiece_model(["a few words", "some more words"] * 5, vocab_size=16, num_sentinels=2)


def test_a_model_goes_through_unchanged():
    assert parse_model(SMALL).SerializeToString() == SMALL


def test_the_fields_are_those_of_sentencepieces_own_classes():
    own = subprocess.run(  # in a process of its own: these classes may not go with this protobuf
        [
            sys.executable,
            "-c",
            "import sys\nfrom sentencepiece import sentencepiece_model_pb2 as pb\n"
            "m = pb.ModelProto.FromString(sys.stdin.buffer.read())\n"
            "print([(p.piece, round(p.score, 4), p.type) for p in m.pieces])\n"
            "print(m.trainer_spec.eos_piece, m.trainer_spec.pad_piece, m.HasField('normalizer_spec'))",
        ],
        input=SMALL,
        capture_output=True,
        check=False,
    )
    if own.returncode:
        pytest.skip(own.stderr.decode().splitlines()[-1])
    model = parse_model(SMALL)
    pieces = [(piece.piece, round(piece.score, 4), piece.type) for piece in model.pieces]
    spec = model.trainer_spec
    expected = f"{pieces}\n{spec.eos_piece} {spec.pad_piece} {model.HasField('normalizer_spec')}\n"
    assert own.stdout.decode() == expected
    assert [piece.type for piece in model.pieces][:4] == [3, 3, UNKNOWN, 1]


def test_a_piece_can_be_added():
    model = parse_model(SMALL)
    model.pieces.add(piece="<extra_id_0>", score=0.0, type=USER_DEFINED)
    again = parse_model(model.SerializeToString())
    assert [again.pieces[-1].piece, again.pieces[-1].type, len(again.pieces)] == ["<extra_id_0>", USER_DEFINED, 15]


def test_what_is_no_model_is_refused():
    with pytest.raises(DecodeError):
        parse_model(b"\xff\xff no model")
