"""Tests t5x_lite/config/texts.py"""

import pytest

from t5x_lite.config.checks import as_texts
from t5x_lite.config.texts import check_whole


@pytest.mark.parametrize("texts", [["é", "a\ud800b"], ("\ud800",), iter(["\udfff"])])
def test_half_of_a_character_is_refused_by_name(texts):
    with pytest.raises(ValueError, match=r"^prompts\[[01]\] contains '\\ud\w+', half of a character, as its character"):
        as_texts(texts, "prompts")


def test_whole_characters_are_accepted():
    texts = ("é\U0001f600",)
    check_whole(texts[0], "text")
    assert as_texts(texts, "texts") == as_texts(list(texts), "texts") == list(texts)
