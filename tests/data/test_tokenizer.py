"""Tests t5x_lite/data/tokenizer.py."""

import hashlib
import os
import pathlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizer import (
    ByteTokenizer,
    SentencePieceTokenizer,
    build_tokenizer,
    load_tokenizer,
    train_sentencepiece,
    train_sentencepiece_model,
)

T5_VOCABULARIES = pathlib.Path(__file__).parents[3] / "shared" / "data" / "t5_vocab"
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
    return train_sentencepiece_model(TEXTS, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)


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


def test_decoding_stops_at_eos_and_skips_padding_and_ids_outside_the_vocabulary(tokenizer):
    fox, dogs = tokenizer.encode("fox"), tokenizer.encode("dogs")
    assert tokenizer.decode([0, *fox, VOCAB_SIZE, 127, 10**6, -1, *dogs, 1, *fox]) == "fox dogs"
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
    with pytest.raises(ValueError, match=r"early.model has <extra_id_N> pieces elsewhere than at its end"):
        SentencePieceTokenizer.from_file(path)


def test_a_model_of_another_family_is_refused_by_its_ids(tmp_path):
    path = foreign_model(tmp_path / "llama", unk_id=0, bos_id=1, eos_id=2)
    with pytest.raises(ValueError, match=r"llama.model has pad, EOS and unknown ids -1, 2 and 0 .* T5's 0, 1 and 2"):
        SentencePieceTokenizer.from_file(path)


NO_MODELS = [b"", b"hello world\n" * 50, bytes(range(256)), b"\x00" * 9, "cut in a piece", "cut after a piece"]


@pytest.mark.parametrize("content", NO_MODELS)
def test_a_file_that_is_no_model_is_refused_by_name_and_quietly(content, model, tmp_path, capfd):
    path = tmp_path / "notes.txt"
    model_proto = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
    pieces = model_proto.FromString(model).pieces
    whole_pieces = model_proto(pieces=pieces[:30]).SerializeToString()
    assert model.startswith(whole_pieces)
    cut = {"cut in a piece": whole_pieces[:-1], "cut after a piece": whole_pieces}
    path.write_bytes(cut.get(content, content))
    with pytest.raises(ValueError, match=r"notes.txt is not a SentencePiece model: name the .model file"):
        SentencePieceTokenizer.from_file(path)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_and_a_directory_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"task.tokenizer.path .*absent.model does not exist"):
        SentencePieceTokenizer.from_file(tmp_path / "absent.model")
    with pytest.raises(ValueError, match=r"is a directory; name the .model file in it"):
        SentencePieceTokenizer.from_file(tmp_path)


def test_training_is_deterministic_and_quiet(model):
    """In a process of its own: SentencePiece's log level, once set, stays for the process."""
    code = (
        "import hashlib, t5x_lite.data.tokenizer as t\n"
        f"model = t.train_sentencepiece_model({TEXTS}, vocab_size={VOCAB_SIZE}, num_sentinels={NUM_SENTINELS})\n"
        "print(hashlib.sha256(model).hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == (hashlib.sha256(model).hexdigest() + "\n", "")


def test_training_writes_a_whole_file_and_nothing_else(model, tmp_path):
    path = tmp_path / "new" / "mine.model"
    train_sentencepiece(TEXTS, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS, path=path)
    assert path.read_bytes() == model
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("wrong", "hint"), [(9_000, r"supports (\d+) at most"), (12, r"alone need (\d+);")])
def test_a_vocabulary_the_text_does_not_support_is_refused_with_a_size_that_works(wrong, hint):
    with pytest.raises(ValueError, match=f"vocab_size {wrong} ids.*{hint}") as caught:
        train_sentencepiece_model(TEXTS, vocab_size=wrong, num_sentinels=NUM_SENTINELS)
    works = int(re.findall(hint, str(caught.value))[0])
    model = train_sentencepiece_model(TEXTS, vocab_size=works, num_sentinels=NUM_SENTINELS)
    assert SentencePieceTokenizer(model, NUM_SENTINELS).vocab_size == works


def test_a_vocabulary_of_sentinels_alone_is_refused():
    with pytest.raises(ValueError, match=r"vocab_size 100 leaves 0 pieces beside 100 sentinels"):
        train_sentencepiece_model(TEXTS, vocab_size=100)


def test_bytes_have_byt5s_ids():
    byt5 = ByteTokenizer()
    assert byt5.encode("hé") == [104 + 3, 0xC3 + 3, 0xA9 + 3]
    assert byt5.decode([104 + 3, 0xC3 + 3, 0xA9 + 3]) == "hé"
    assert (byt5.vocab_size, byt5.padded_vocab_size) == (259, 384)
    assert (byt5.sentinel_id(0), byt5.sentinel_id(1)) == (258, 257)


def test_byte_sentinels_survive_encoding_beside_text_of_all_scripts():
    byt5, text = ByteTokenizer(), "<extra_id_0> naïve <extra_id_31>世界<extra_id_99>🙂 <extra_id_100>"
    assert byt5.decode(byt5.encode(text)) == text


def test_bytes_outside_the_vocabulary_and_invalid_utf8_decode_to_nothing():
    plain = ByteTokenizer(num_sentinels=0)
    assert plain.decode(range(259, 270)) == ""
    assert plain.decode([2, 0xC3 + 3, ord("a") + 3, 0xFF + 3, 0x80 + 3, ord("b") + 3, 1, ord("c") + 3]) == "ab"


def test_a_sentinel_that_does_not_exist_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"no <extra_id_7>: task.tokenizer.num_sentinels is 7"):
        tokenizer.sentinel_id(7)
    with pytest.raises(ValueError, match=r"num_sentinels is 257"):
        ByteTokenizer(257)


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_a_saved_tokenizer_needs_no_config(kind, tmp_path):
    cfg = TokenizerConfig(kind=kind, vocab_size=VOCAB_SIZE, num_sentinels=NUM_SENTINELS)
    made = build_tokenizer(cfg, TEXTS)
    made.save(tmp_path)
    loaded, text = load_tokenizer(tmp_path), "lazy <extra_id_6> dogs"
    assert type(loaded) is type(made)
    assert (loaded.vocab_size, loaded.num_sentinels) == (made.vocab_size, NUM_SENTINELS)
    assert loaded.encode(text) == made.encode(text)


def test_a_saved_model_is_the_file_it_came_from(model, tmp_path):
    (tmp_path / "mine.model").write_bytes(model)
    cfg = TokenizerConfig(path=str(tmp_path / "mine.model"), num_sentinels=NUM_SENTINELS)
    build_tokenizer(cfg, []).save(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == model


def test_a_directory_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocabulary.json does not exist: is .* the directory of a run"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_tokenizers_pickle_as_little_more_than_their_model(kind, tokenizer):
    original = tokenizer if kind == "sentencepiece" else ByteTokenizer(NUM_SENTINELS)
    pickled = pickle.dumps(original)
    assert len(pickled) < len(tokenizer.model) + 500
    assert pickle.loads(pickled).encode("fox <extra_id_2>") == original.encode("fox <extra_id_2>")
