"""Tests t5x_lite/config/texts.py"""

import numpy as np
import pytest

from t5x_lite.config.texts import as_texts, check_whole


@pytest.mark.parametrize("texts", [["é", "a\ud800b"], ("\ud800",), iter(["\udfff"])])
def test_half_of_a_character_is_refused_by_name(texts):
    with pytest.raises(ValueError, match=r"^prompts\[[01]\] contains '\\ud\w+', half of a character, as its character"):
        as_texts(texts, "prompts")


def test_whole_characters_are_accepted():
    texts = ("é\U0001f600",)
    check_whole(texts[0], "text")
    assert as_texts(texts, "texts") == as_texts(list(texts), "texts") == list(texts)


@pytest.mark.parametrize(
    "texts",
    [
        ["ab", "c"],
        ("ab", "c"),
        (text for text in ("ab", "c")),
        np.array(["ab", "c"]),
        np.array(["ab", "c"], object),
        {"ab": 0, "c": 1}.keys(),
        "ab\nc".splitlines(),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_any_ordered_texts_become_a_list(texts):
    assert as_texts(texts, "inputs") == ["ab", "c"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("no", r"inputs is a single text, 'no': pass a list, even of one text, \['no'\]"),
        ("", r"inputs is a single text, '': pass a list"),
        (np.str_("no"), r"inputs is a single text, .*'no'"),
        ("long " * 99, r"inputs is a single text, '(long ){8}'\.\.\.: pass a list"),
        (b"no", "inputs is a single text, b'no': pass a list"),
        ({"a": "b"}, "inputs is of type dict: pass a list of texts"),
        ({"a", "b"}, "inputs is of type set: pass a list of texts"),
        (np.array("no"), "inputs is of type ndarray: pass a list of texts"),
        (None, "inputs is of type NoneType: pass a list of texts"),
        (["a", b"b"], r"inputs\[1\] is of type bytes: pass a list of texts, each a str"),
        ([["a"]], r"inputs\[0\] is of type list: pass a list of texts"),
        (np.array([["a"]]), r"inputs\[0\] is of type ndarray: pass a list of texts"),
        (["a", None], r"inputs\[1\] is of type NoneType"),
        ([float("nan")], r"inputs\[0\] is of type float"),
    ],
)
def test_anything_else_than_texts_is_refused_by_name_with_the_remedy(texts, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        as_texts(texts, "inputs")
