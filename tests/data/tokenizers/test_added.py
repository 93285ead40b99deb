"""Tests t5x_lite/data/tokenizers/added.py, with Hugging Face's `tokenizers` library as the oracle."""

import pytest

from t5x_lite.data.tokenizers.added import AddedToken, Splitter
from t5x_lite.data.tokenizers.base import split_at_sentinels

SENTINELS = {"<extra_id_0>": 99, "<extra_id_1>": 98}
TEXTS = [
    "a <hl> b",
    "a<hl>b<hl>",
    "<hl>",
    " <hl>  <hl> ",
    "the <h and <hl and <hlx>",
    "\u00abna\u00efve<hl>\u00bb",
    "word sword words word's word_1 (word)",
    "  \t<hl>\n\n",
    "\n\n a \n <hl> \n\n <hl>",
    "\uff1chl\uff1e <hl>",
    "\ufb01ne fine",
    "",
]


def split_by_library(tokens, text, *, lowercase=False):
    """The ids of tokens, and the characters between them, as the library finds them."""
    tokenizers = pytest.importorskip("tokenizers", reason="the extra t5x-lite[tokenizers] is not installed")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    if lowercase:
        made.normalizer = tokenizers.normalizers.Lowercase()
    for token in tokens:
        flags = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word", "normalized", "special")}
        made.add_tokens([tokenizers.AddedToken(token.text, **flags)])
    encoding = made.encode(text, add_special_tokens=False)
    number = {made.token_to_id(token.text): token.id for token in tokens}
    return [number.get(i, 0) for i in encoding.ids]


@pytest.mark.parametrize("flags", [{}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}])
@pytest.mark.parametrize("single_word", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_found_where_the_library_finds_them(text, single_word, flags):
    tokens = [
        AddedToken(text=found, id=7 + i, single_word=single_word, **flags)
        for i, found in enumerate(("<hl>", "word", "<hlx>", "fine", "\n"))
    ]
    ours = Splitter(tokens, {})(text)
    flat = [i for part in ours for i in ([part] if isinstance(part, int) else [0] * len(part))]
    assert flat == split_by_library(tokens, text)


@pytest.mark.parametrize("text", ["<HL> a", "a <hl> b", "a<Hl>", "x <SEP>y<sep>", "plain Text"])
def test_normalized_tokens_are_found_in_normalised_text(text):
    tokens = [AddedToken(text="<Hl>", id=7, normalized=True), AddedToken(text="<sep>", id=8)]
    ours = Splitter(tokens, {}, str.lower)(text)
    flat = [i for part in ours for i in ([part] if isinstance(part, int) else [0] * len(part))]
    assert flat == split_by_library(tokens, text, lowercase=True)


def test_text_without_tokens_is_left_as_it_is():
    assert Splitter([AddedToken(text="<Hl>", id=7, normalized=True)], SENTINELS, str.lower)("Plain TEXT") == [
        "Plain TEXT"
    ]
    assert Splitter([], {})("<extra_id_0>") == ["<extra_id_0>"]


def test_the_longest_of_several_tokens_is_found():
    tokens = [AddedToken(text=text, id=i) for i, text in enumerate(("ab", "a", "abc", "b"))]
    assert Splitter(tokens, {})("abcabaxb") == [2, 0, 1, "x", 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(<extra_id_0>):", ["def f(", 99, "):"]),
        ("a <extra_id_0><extra_id_1> b", ["a ", 99, 98, " b"]),
        ("<extra_id_2><extra_id_00><extra_id_\u0661>", ["<extra_id_2><extra_id_00><extra_id_\u0661>"]),
        ("<extra_id_1", ["<extra_id_1"]),
        ("<extra_id_<extra_id_1>0>", ["<extra_id_", 98, "0>"]),
    ],
)
def test_sentinels_are_found_beside_any_character(text, expected):
    assert Splitter([], SENTINELS)(text) == split_at_sentinels(SENTINELS, text) == expected
