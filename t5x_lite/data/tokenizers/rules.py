# SPDX-License-Identifier: Apache-2.0
"""Limits of a `tokenizer.json`, which may come from anybody: the library follows its rules without any limit.

Chained replacements can multiply a text without end, and a regular expression that repeats a repetition can take
exponential time. What the tokenizers of published models need is far below all limits.
"""

import base64
import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from t5x_lite.data.tokenizers.charsmap import check_charsmap
from t5x_lite.files.json_object import check_number_of_values
from t5x_lite.files.messages import first_line

COMPONENTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
MAX_TOKENS, MAX_MERGES, MAX_ADDED, MAX_SPECIAL = 1_000_000, 2_000_000, 100_000, 256
MAX_UNUSED_IDS = 2**16  # among those of the tokens
MAX_TOKEN = 1_000  # characters
MAX_FIELDS = 100  # of a rule; larger objects are vocabularies
MAX_GROWTH = 1_000  # characters for one of a text
MAX_PATTERN, MAX_COUNT, MAX_REPETITIONS = 2_000, 1_000, 16


@functools.lru_cache(maxsize=4)  # a file is checked whenever something is read from it
def check_rules(content: bytes, name: str) -> None:
    """Raises ValueError, with the name of the file, if a `tokenizer.json` is no JSON object or beyond a limit.

    What Python reads differently from the library would not be checked: text that breaks off after rules that the
    library has followed by then, and a rule that is given twice.
    """
    check_number_of_values(content, name)
    try:
        stored = json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(not_one(name, first_line(error, 200))) from error
    if not isinstance(stored, Mapping):
        raise ValueError(not_one(name, "it is no JSON object"))
    _check_counts(stored, name)
    for component in COMPONENTS:
        growth = 1.0
        for rule in _rules(stored.get(component)):
            growth *= _growth(rule, name)
            if growth > MAX_GROWTH:
                raise ValueError(
                    f"{name} has rules of its {component} that make a text over {MAX_GROWTH:,} times as long"
                )


def not_one(name: str, reason: str) -> str:
    """Returns the message for a file that is no tokenizer."""
    return f"{name} is not a Hugging Face tokenizer ({reason}): name the tokenizer.json that its save_pretrained wrote"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs) < MAX_FIELDS:
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"it has {twice!r:.80} twice")
    return fields


def check_ids(ids: Mapping[str, int], name: str) -> None:
    """Raises ValueError if the ids of tokens leave out so many others that arrays of all ids would be too large."""
    for i in ids.values():
        if type(i) is not int or not 0 <= i < len(ids) + MAX_UNUSED_IDS:
            raise ValueError(f"{name} has a token with the id {i!r:.80} among {len(ids):,}: download it again")


def _check_counts(stored: Mapping[str, Any], name: str) -> None:
    model = stored.get("model")
    model = model if isinstance(model, Mapping) else {}
    for what, held, most in (
        ("tokens", model.get("vocab"), MAX_TOKENS),
        ("merges", model.get("merges"), MAX_MERGES),
        ("added tokens", stored.get("added_tokens"), MAX_ADDED),
    ):
        if isinstance(held, (list, dict)) and len(held) > most:
            raise ValueError(f"{name} has {len(held):,} {what}, more than any tokenizer, {most:,}: download it again")
    vocab = model.get("vocab")
    vocab = vocab if isinstance(vocab, (list, dict)) else ()
    texts = (item[0] if isinstance(item, list) and item else item for item in vocab)
    longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
    if longest > MAX_TOKEN:  # the library follows a token by recursion, as deep as it is long
        raise ValueError(f"{name} has a token of {longest:,} characters, more than any tokenizer: download it again")


def _rules(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the rules in a component, in the order in which they are followed."""
    if isinstance(value, Mapping):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        if isinstance(inner, (Mapping, list)):
            yield from _rules(inner)


def _growth(rule: Mapping[str, Any], name: str) -> float:
    """Returns how many characters a rule may make of one; raises ValueError if the rule is beyond a limit."""
    if isinstance(expression := rule.get("Regex"), str):
        check_expression(expression, name)
    for pieces in (rule.get("single"), rule.get("pair")):
        if isinstance(pieces, list) and len(pieces) > MAX_SPECIAL:
            raise ValueError(f"{name} adds {len(pieces):,} tokens to every text, more than any tokenizer")
    match rule.get("type"):
        case "Replace":
            new, pattern = str(rule.get("content", "")), rule.get("pattern")
            old = pattern.get("String") if isinstance(pattern, Mapping) else pattern
            return max(1.0, len(new) / len(old)) if isinstance(old, str) and old else 1.0 + len(new)
        case "Prepend":
            return 1.0 + len(str(rule.get("prepend", "")))
        case "Precompiled":
            return max(1, check_charsmap(_decoded(rule.get("precompiled_charsmap"), name), name))
    return 1.0


def _decoded(text: Any, name: str) -> bytes:
    try:
        return base64.b64decode(text or "", validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has a damaged map of characters: download it again") from error


def check_expression(expression: str, name: str) -> None:
    """Raises ValueError if a regular expression may take exponential time.

    It is refused if it repeats a group that itself has repetitions or choices, refers to what a group found, or is
    very long.
    """
    problem = None
    if len(expression) > MAX_PATTERN:
        problem = "it is too long"
    elif re.search(r"\\[1-9]|\\[kg]|\(\?(?:[&PR0-9]|<?\w+>?\()", expression):
        problem = "it refers to what its groups found"
    # Escapes, classes of characters and lazy or possessive marks count as one character each.
    plain = re.sub(r"\\[pP]\{[^}]*\}|\\x\{[^}]*\}|\\.", "x", expression, flags=re.DOTALL)
    while (shorter := re.sub(r"\[[^\[\]]*\]", "x", plain)) != plain:
        plain = shorter
    groups, num_repetitions, closed = [False], 0, False
    for place, character in enumerate(plain):
        repeats = character in "*+" or (character == "{" and _counts(plain[place:]) > 1)
        if character == "(":
            groups.append(False)
        elif character == ")" and len(groups) > 1:
            closed = groups.pop()
            groups[-1] |= closed
            continue
        elif repeats and not (place and plain[place - 1] in "*+?}"):
            if closed and plain[place - 1] == ")":
                problem = "it repeats a group with repetitions or choices"
            if character == "{" and _counts(plain[place:]) > MAX_COUNT and "," not in plain[place:].partition("}")[0]:
                problem = "it repeats too often"
            groups[-1] = True
            num_repetitions += 1
        elif character == "|":
            groups[-1] = True
    if num_repetitions > MAX_REPETITIONS:
        problem = "it has too many repetitions"
    if problem:
        raise ValueError(f"{name} has the regular expression {expression!r:.80}, which may take forever ({problem})")


def _counts(text: str) -> int:
    """Returns how often `{3}` or `{1,3}` at the start of a text repeats at most; 0 if it is something else."""
    found = re.match(r"\{(\d*)(,?)(\d*)\}", text)
    if found is None:
        return 0
    low, comma, high = found.groups()
    return int(high or low or 0) if not comma or high else 2
