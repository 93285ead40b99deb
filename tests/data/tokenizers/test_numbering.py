"""Tests t5x_lite/data/tokenizers/numbering.py"""

import pytest

from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.numbering import as_json, numbered


def test_ids_follow_the_vocabulary_unless_they_are_given():
    tokens = [AddedToken(text="a"), AddedToken(text="b", id=23), AddedToken(text="c"), AddedToken(text="old")]
    made = numbered(tokens, 20, {"old": 5}.get, "x")
    assert [(token.text, token.id) for token in made] == [("old", 5), ("a", 20), ("b", 23), ("c", 24)]


@pytest.mark.parametrize(
    "tokens",
    [
        [AddedToken(text="")],
        [AddedToken(text="a"), AddedToken(text="a")],
        [AddedToken(text="a", id=21), AddedToken(text="b", id=21)],
        [AddedToken(text="a", id=3)],
        [AddedToken(text="old", id=21)],
        [AddedToken(text="a", id=10**9)],
    ],
)
def test_tokens_without_an_id_of_their_own_are_refused(tokens):
    with pytest.raises(ValueError, match=r"^x cannot have the added token .* with the id "):
        numbered(tokens, 20, {"old": 5}.get, "x")


def test_only_what_differs_from_the_default_is_stored():
    token = AddedToken(text="<hl>", id=7, lstrip=True)
    assert as_json([token]) == [{"text": "<hl>", "id": 7, "lstrip": True}]
    assert AddedToken(**as_json([token])[0]) == token
