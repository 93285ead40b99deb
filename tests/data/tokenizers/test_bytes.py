"""Tests t5x_lite/data/tokenizers/bytes.py; the ids are those that SeqIO's tests of ByteVocabulary publish."""

import pickle

import numpy as np
import pytest

from t5x_lite.data.tokenizers import load_tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer

PUBLISHED_TEXT = "this is a test 🤗 你好"
PUBLISHED_IDS = [
    *(119, 107, 108, 118, 35, 108, 118, 35, 100, 35, 119, 104, 118, 119, 35),
    *(243, 162, 167, 154, 35, 231, 192, 163, 232, 168, 192),
]
LAYOUTS = [ByteTokenizer, ByteAndSentinelTokenizer]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_have_seqios_ids(layout):
    for tokenizer in (layout(0), layout()):
        assert tokenizer.encode(PUBLISHED_TEXT) == PUBLISHED_IDS
        assert tokenizer.decode(PUBLISHED_IDS) == PUBLISHED_TEXT


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("extra", [(3000, -4000), (0xC0, 0xC1), (260,)])
def test_ids_and_bytes_that_are_no_text_decode_to_nothing_as_seqios(layout, extra):
    assert layout(0).vocab_size == 259
    assert layout(0).decode([*PUBLISHED_IDS, *extra]) == PUBLISHED_TEXT


def test_byt5s_sentinels_are_the_highest_bytes():
    byt5 = ByteTokenizer()
    assert (byt5.vocab_size, byt5.padded_vocab_size, byt5.sentinel_id(0), byt5.sentinel_id(1)) == (259, 384, 258, 257)
    # The ids that Hugging Face's page on ByT5 gives for "The dog [258] a ball [257] park.", without its EOS.
    ids = [87, 107, 104, 35, 103, 114, 106, 35, 258, 35, 100, 35, 101, 100, 111, 111, 257, 35, 115, 100, 117, 110, 49]
    assert byt5.encode("The dog <extra_id_0> a ball<extra_id_1> park.") == ids
    assert byt5.decode(ids) == "The dog <extra_id_0> a ball<extra_id_1> park."


def test_sentinels_of_their_own_are_seqios_extra_ids():
    extra = ByteAndSentinelTokenizer(10)
    assert (extra.vocab_size, extra.padded_vocab_size) == (269, 384)
    assert (extra.sentinel_id(0), extra.sentinel_id(9)) == (268, 259)
    assert extra.encode("a<extra_id_0><extra_id_9>b<extra_id_10>") == [
        100,
        268,
        259,
        101,
        *extra.encode("<extra_id_10>"),
    ]
    assert extra.decode([100, 268, 259, 101]) == "a<extra_id_0><extra_id_9>b"


def test_125_sentinels_fill_byt5s_rows():
    assert ByteAndSentinelTokenizer(125).vocab_size == ByteAndSentinelTokenizer(125).padded_vocab_size == 384


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sentinels_survive_encoding_beside_text_of_all_scripts(layout):
    tokenizer, text = layout(), "<extra_id_0> naïve <extra_id_31>世界<extra_id_99>🙂 <extra_id_100> <extra_id_07>"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert [i for i in ids if i in map(tokenizer.sentinel_id, (0, 31, 99))] == [
        tokenizer.sentinel_id(n) for n in (0, 31, 99)
    ]


def test_invalid_utf8_beside_sentinels_decodes_to_the_sentinels_alone():
    cut = [0xC3 + 3, 268, ord("a") + 3, 0xFF + 3, 2, ord("b") + 3, 1, ord("c") + 3]
    assert ByteAndSentinelTokenizer(10).decode(cut) == "<extra_id_0>ab"
    assert ByteTokenizer(0).decode(cut) == "ab"
    assert ByteTokenizer(1).decode(cut) == "a<extra_id_0>b"


@pytest.mark.parametrize(
    ("layout", "wrong"), [(ByteTokenizer, 257), (ByteTokenizer, -1), (ByteAndSentinelTokenizer, -1)]
)
def test_an_impossible_number_of_sentinels_is_refused(layout, wrong):
    with pytest.raises(ValueError, match=rf"task.tokenizer.num_sentinels is {wrong}: "):
        layout(wrong)


def test_a_token_added_to_byt5_follows_the_rows_of_its_checkpoints(tmp_path):
    byt5 = ByteTokenizer(added_tokens=[AddedToken(text="<hl>"), AddedToken(text="\u00e9", rstrip=True)])
    assert (byt5.vocab_size, byt5.padded_vocab_size, byt5.sentinel_id(0), byt5.num_above) == (386, 512, 258, 127)
    ids = [100, 384, 35, 258, 385, 101]
    assert byt5.encode("a<hl> <extra_id_0>\u00e9 b") == ids
    assert byt5.decode([*ids, 300]) == "a<hl> <extra_id_0>\u00e9b"
    assert len(byt5.surfaces()) == byt5.vocab_size
    assert byt5.surfaces()[384:] == ["<hl>", "\u00e9"]
    byt5.save(tmp_path)
    for again in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(byt5))):
        assert (again.vocab_size, again.encode("<hl>\u00e9")) == (386, [384, 385])


def test_a_token_added_to_bytes_and_sentinels_follows_these():
    tokenizer = ByteAndSentinelTokenizer(10, [AddedToken(text="<hl>")])
    assert (tokenizer.vocab_size, tokenizer.sentinel_id(0), tokenizer.encode("<hl>")) == (270, 268, [269])
    assert tokenizer.decode([100, 268, 269]) == "a<extra_id_0><hl>"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokenizers_of_bytes_pickle_whole(layout):
    copy = pickle.loads(pickle.dumps(layout(7)))
    assert (type(copy), copy.vocab_size, copy.sentinel_id(6)) == (
        layout,
        layout(7).vocab_size,
        layout(7).sentinel_id(6),
    )


@pytest.mark.parametrize("kind", [ByteTokenizer, ByteAndSentinelTokenizer])
def test_a_batch_has_the_ids_of_its_texts(kind):
    texts = ["", "na\u00efve", "a<extra_id_1>b", "<extra_id_500>"]
    tokenizer = kind(10)
    assert [ids.tolist() for ids in tokenizer.encode_batch(texts)] == [tokenizer.encode(text) for text in texts]
    assert {ids.dtype for ids in tokenizer.encode_batch(texts)} == {np.dtype(np.int32)}


@pytest.mark.parametrize("layout", [ByteTokenizer, ByteAndSentinelTokenizer])
def test_surfaces_are_the_bytes_of_ascii(layout):
    tokenizer = layout(10)
    surfaces = tokenizer.surfaces()
    assert len(surfaces) == tokenizer.vocab_size
    assert [surfaces[i] for i in [*tokenizer.encode(" a\n\u00e4"), 0, 1]] == [
        " ",
        "a",
        "\n",
        "\ufffd",
        "\ufffd",
        "",
        "",
    ]
