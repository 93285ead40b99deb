"""Tests t5x_lite/data/tokenizers/rules.py"""

import json

import pytest

from t5x_lite.data.tokenizers.rules import check_expression, check_ids, check_rules

PUBLISHED = {
    "T5": " {2,}",
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "GPT-4": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}]*[\p{Ll}\p{M}]+(?i:'s|'t|'re)?|\p{N}{1,3}| ?[^\s\p{L}]+[\r\n/]*|\s+",
    "escapes": r"\(\+\)+|[(*+]+|\[+",
}


@pytest.mark.parametrize("expression", PUBLISHED.values(), ids=PUBLISHED)
def test_the_expressions_of_published_tokenizers_are_allowed(expression):
    check_expression(expression, "x")


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$",
        "(a|a)*b",
        "(?:x*)*y",
        "([a-z]+){10}",
        "((ab)*c)+",
        "(?:a|b){2,}",
        r"(a)\1",
        r"(?<n>a)\k<n>",
        "a{100000}",
        "a?" * 1_001,
        "a*" * 17,
    ],
)
def test_an_expression_that_may_take_forever_is_refused(expression):
    with pytest.raises(ValueError, match=r"^x has the regular expression .*, which may take forever \(it "):
        check_expression(expression, "x")


def tokenizer(component, rules, **fields):
    return json.dumps({component: {"type": "Sequence", f"{component}s": rules}} | fields).encode()


def replace(old, new):
    return {"type": "Replace", "pattern": old, "content": new}


@pytest.mark.parametrize("component", ["normalizer", "decoder"])
@pytest.mark.parametrize(
    "rules",
    [
        [replace({"String": "a"}, "aa")] * 40,
        [replace({"String": "a"}, "a" * 2_000)],
        [replace({"Regex": ""}, "ab")] * 7,
        [{"type": "Prepend", "prepend": "a" * 50}] * 2,
        [{"type": "Sequence", "inner": [replace("ab", "abab")]}] * 12,
    ],
)
def test_rules_that_multiply_a_text_are_refused(component, rules):
    with pytest.raises(ValueError, match=rf"x has rules of its {component} that make a text over 1,000 times as long"):
        check_rules(tokenizer(component, rules), "x")


def test_rules_of_published_tokenizers_are_allowed():
    rules = [{"type": "Prepend", "prepend": "\u2581"}, replace({"String": " "}, "\u2581"), {"type": "NFKC"}]
    check_rules(tokenizer("normalizer", [*rules, replace({"Regex": " {2,}"}, "\u2581")]), "x")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": {"vocab": [0] * 1_000_001}}, "1,000,001 tokens"),
        ({"model": {"merges": [0] * 2_000_001}}, "2,000,001 merges"),
        ({"model": {"vocab": [["x" * 1_001, 0.0]]}}, "a token of 1,001 characters"),
        ({"model": {"vocab": {"x" * 1_001: 0}}}, "a token of 1,001 characters"),
        ({"added_tokens": [0] * 100_001}, "100,001 added tokens"),
        ({"post_processor": {"single": [0] * 257}}, "adds 257 tokens to every text"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "damaged map of characters"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}}, "damaged map of characters"),
    ],
)
def test_a_tokenizer_that_is_larger_than_any_or_damaged_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"^x .*{message}"):
        check_rules(json.dumps(fields).encode(), "x")


def test_rules_of_other_kinds_are_left_to_the_library():
    check_rules(b'{"normalizer": 3, "model": [], "decoder": {"a": null}}', "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value.*"),
        (b"[]", "it is no JSON object"),
        (b'{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "////fw=="}, ', "Expecting property name.*"),
        (b'{"normalizer": {"precompiled_charsmap": "////fw=="}, "normalizer": null}', "it has 'normalizer' twice"),
        (b"[" * 100_000, "maximum recursion depth.*"),
    ],
    ids=["empty", "list", "broken off", "twice", "nested"],
)
def test_what_the_library_would_read_differently_is_refused_before_it_does(content, reason):
    with pytest.raises(ValueError, match=rf"^x is not a Hugging Face tokenizer \({reason}\): name the tokenizer.json"):
        check_rules(content, "x")


@pytest.mark.parametrize("wrong", [4_294_967_295, -1, "3", 2**16 + 2, None])
def test_ids_far_above_the_number_of_tokens_are_refused(wrong):
    with pytest.raises(ValueError, match=r"^x has a token with the id .* among 2: download it again"):
        check_ids({"a": 0, "b": wrong}, "x")
    check_ids({"a": 0, "b": 2**16}, "x")
