# SPDX-License-Identifier: Apache-2.0
"""Changes of model directories: damage, as disks and downloads do it, and what an attacker would write."""

import base64
import copy
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

MAX_BYTES = 2**24  # of a file to change
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"NaN", b"1e999", b"-1", b"\0", b"\xff\xfe", b"&a ", b"*a")
EXPRESSIONS = ("(a+)+$", "(a|a)*b", "(.*)*x", "(a)\\1", "a{100000}", "[", "(?<!a*)b", "\\s+$", "a*a*a*a*a*a*a*a*b")


def mutate(seeds: list[pathlib.Path], directory: pathlib.Path, rng: np.random.Generator) -> str:
    """Copies one of the seeds and changes it in one to three places; returns what was done."""
    seed = seeds[rng.integers(len(seeds))]
    shutil.copytree(seed, directory)
    done = [seed.name]
    for _ in range(rng.integers(1, 4)):
        path = _choose(rng, _files(directory))
        if path is None:
            break
        kinds = _kinds(path)
        kind = kinds[rng.integers(len(kinds))]
        kind(path, rng)
        done.append(f"{kind.__name__.strip('_')} {path.relative_to(directory)}")
    return ", ".join(done)


def _files(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a directory, without those that were made large."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if path.stat().st_size < MAX_BYTES)


def _choose(rng: np.random.Generator, paths: list[pathlib.Path]) -> pathlib.Path | None:
    """Returns a file: one of JSON or YAML, or of those at the top, more often than others."""
    if not paths:
        return None
    texts = [path for path in paths if path.suffix in (".json", ".yaml", ".safetensors", ".model")]
    paths = texts if texts and rng.random() < 0.8 else paths
    return paths[rng.integers(len(paths))]


def _kinds(path: pathlib.Path) -> list[Callable[[pathlib.Path, np.random.Generator], None]]:
    """Returns the changes that suit a file; structured ones more often than others."""
    any_file = [_flip, _cut, _insert, _overwrite, _replace_whole, _make_large]
    special: dict[str, list[Any]] = {
        ".json": [_change_json] * 12 + [_nest],
        ".yaml": [_change_yaml] * 4 + [_alias],
        ".safetensors": [_change_header] * 8,
        ".model": [_change_map] * 2,
    }
    own = special.get(path.suffix, [])
    return any_file + (own + [_change_rules] * 8 if path.name == "tokenizer.json" else own)


def _hostile(rng: np.random.Generator, old: Any) -> Any:
    """Returns a value to put in place of another."""
    numbers = [0, -1, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**53, 10**9, 2 * 10**9, 10**30, -(10**30), 10**4_000, 0.5, 1e308]
    others = [float("nan"), float("inf"), None, True, False, "", "x", "\0", "\ud800", "a\nb", "x" * 10**6, [], {}]
    nested = [
        [[]] * 3,
        {"a": {"b": [1]}},
        _deep(900),
        list(range(1_000)),
        [10**9] * 50,
        {str(i): i for i in range(300)},
    ]
    if type(old) is int and rng.random() < 0.5:
        return old + int(rng.integers(-2, 3)) if rng.random() < 0.3 else numbers[rng.integers(len(numbers))]
    values = [*numbers, *others, *nested, [old, old], [old], {"a": old}]
    return values[rng.integers(len(values))]


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yields (container, key) of every value below one, of long lists only the first."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in items[:200] if depth < 8 else []:
        yield value, key
        yield from _places(inner, depth + 1)


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """Changes some of the values in plain data."""
    for _ in range(rng.integers(1, 4)):
        places = list(_places(value))
        if not places:
            return _hostile(rng, value)
        container, key = places[rng.integers(len(places))]
        match rng.integers(6):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[f"{key}_"] = container[key]
            case 2:
                other, other_key = places[rng.integers(len(places))]
                if other_key in other if isinstance(other, dict) else other_key < len(other):
                    container[key] = copy.deepcopy(other[other_key])
            case _:
                container[key] = _hostile(rng, container[key])
    return value


def _change_json(path: pathlib.Path, rng: np.random.Generator) -> None:
    try:
        value = json.loads(path.read_bytes())
        path.write_text(json.dumps(_changed(value, rng)), encoding="utf-8", errors="surrogatepass")
    except (ValueError, RecursionError, MemoryError):  # of an earlier change
        _flip(path, rng)


def _change_yaml(path: pathlib.Path, rng: np.random.Generator) -> None:
    import yaml

    content = path.read_bytes()
    if b"*a9" in content:  # of `_alias`: written out as JSON, it would fill the memory
        _flip(path, rng)
        return
    try:
        value = _changed(yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), rng)
        path.write_text(json.dumps(value))
    except (ValueError, RecursionError, yaml.YAMLError):
        _flip(path, rng)


def _change_header(path: pathlib.Path, rng: np.random.Generator) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    match rng.integers(4):
        case 0:  # another length
            length = [0, length - 1, length + 1, 10**8, 2**63, 99_000_000][rng.integers(6)]
            path.write_bytes(length.to_bytes(8, "little") + content[8:])
            if rng.random() < 0.5:
                os.truncate(path, 120_000_000)
        case 1:  # a long one
            text = b"[" * 5_000_000 if rng.random() < 0.5 else b'{"a":[' + b"0," * 4_000_000 + b"0]}"
            path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        case _:
            try:
                value = _changed(json.loads(content[8 : 8 + length]), rng)
            except (ValueError, RecursionError):
                return
            text = json.dumps(value).encode("utf-8", "surrogatepass")
            path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def _change_rules(path: pathlib.Path, rng: np.random.Generator) -> None:
    """Puts rules that multiply a text, or take long, into a tokenizer."""
    try:
        stored = json.loads(path.read_bytes())
        component = ("normalizer", "pre_tokenizer", "decoder")[rng.integers(3)]
        rules = [_rule(component, rng) for _ in range(rng.integers(1, 60))]
        inner = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}[component]
        stored[component] = {"type": "Sequence", inner: rules}
        if rng.random() < 0.2:
            stored["model"]["vocab"] = [[f"t{i}", -1.0] for i in range(10_000)]
        if rng.random() < 0.2:
            stored["added_tokens"][-1]["id"] = int(rng.integers(2**32))
        path.write_text(json.dumps(stored))
    except (ValueError, TypeError, LookupError, RecursionError):
        _flip(path, rng)


def _rule(component: str, rng: np.random.Generator) -> Any:
    expression = EXPRESSIONS[rng.integers(len(EXPRESSIONS))]
    pattern = (
        {"Regex": expression} if rng.random() < 0.5 else {"String": ["a", "", " ", "aa", "\uffff"][rng.integers(5)]}
    )
    replace = {"type": "Replace", "pattern": pattern, "content": ["aa", "", "a" * 10_000][rng.integers(3)]}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    table = base64.b64encode(rng.bytes(64)).decode()
    rules = {
        "normalizer": [
            replace,
            {"type": "Prepend", "prepend": "a" * 100},
            {"type": "NFKD"},
            {"type": "Precompiled", "precompiled_charsmap": table},
        ],
        "pre_tokenizer": [split, {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}],
        "decoder": [replace, {"type": "Strip", "content": " ", "start": 10**9, "stop": 0}, {"type": "Fuse"}],
    }[component]
    return rules[rng.integers(len(rules))]


def _change_map(path: pathlib.Path, rng: np.random.Generator) -> None:
    """Damages the middle of a SentencePiece model, where its map of characters is."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 200) if content else 0):
        place = int(rng.integers(len(content) // 4, len(content)))
        content[place] = int(rng.integers(256))
    path.write_bytes(content)


def _nest(path: pathlib.Path, rng: np.random.Generator) -> None:
    levels = int(rng.choice([900, 100_000, 5_000_000]))
    path.write_bytes([b"[" * levels, b'{"a":' * levels, b"[" * levels + b"]" * levels][rng.integers(3)])


def _alias(path: pathlib.Path, rng: np.random.Generator) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    field = ("task", "train", "revision", "model")[rng.integers(4)]
    path.write_text("\n".join([*lines, f"{field}: *a9", path.read_text(errors="replace")]))


def _flip(path: pathlib.Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, max(len(content), 1), rng.integers(1, 9)) if content else ():
        content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def _cut(path: pathlib.Path, rng: np.random.Generator) -> None:
    os.truncate(path, int(rng.integers(path.stat().st_size + 1)))


def _insert(path: pathlib.Path, rng: np.random.Generator) -> None:
    content, word = path.read_bytes(), WORDS[rng.integers(len(WORDS))] * int(rng.choice([1, 3, 1_000]))
    place = int(rng.integers(len(content) + 1))
    path.write_bytes(content[:place] + word + content[place + int(rng.integers(3)) :])


def _overwrite(path: pathlib.Path, rng: np.random.Generator) -> None:
    content, value = bytearray(path.read_bytes()), INTERESTING[rng.integers(len(INTERESTING))]
    place = int(rng.integers(len(content) + 1))
    content[place : place + 4] = value.to_bytes(4, "little")
    path.write_bytes(content)


def _replace_whole(path: pathlib.Path, rng: np.random.Generator) -> None:
    path.unlink()
    match rng.integers(6):
        case 0:
            pass
        case 1:
            path.mkdir()
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            path.symlink_to(path.name)
        case 4:
            path.write_bytes(rng.bytes(int(rng.integers(5_000))))
        case _:
            path.write_bytes(b"")


def _make_large(path: pathlib.Path, rng: np.random.Generator) -> None:
    """Adds zeros that take no room on disk."""
    os.truncate(path, path.stat().st_size + int(rng.choice([1, 10**8, 2 * 10**9, 10**12])))
