# SPDX-License-Identifier: Apache-2.0
"""YAML whose words and keys are text as written: nothing is misread, given twice or lost.

Source: YAML 1.2's core schema for numbers; YAML 1.1's booleans (yes, no, on, off) are still read for fields that are
true or false.
"""

import re
from typing import Any, ClassVar

import yaml

TAG = "tag:yaml.org,2002:"
BOOL, INT, FLOAT, NULL, STR, MERGE = (TAG + name for name in ("bool", "int", "float", "null", "str", "merge"))
SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # those in C are faster, and not in every build
BASE: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
NUMBERS = {
    INT: r"[-+]?(?:[0-9][0-9_]*|0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+)",
    FLOAT: r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
MAX_CHARACTERS = 500_000  # with this limit and those of `yaml_limits`, any text is read within two seconds and 200 MB
MAY_BE_LARGE = re.compile(r"\*|(?:[\[{][^\[{]*){30}| {30}|(?:[-?][ \t]+){9}")  # has aliases, or may be nested deeply
READS_AS = {BOOL: "true or false", NULL: "null", INT: "a number", FLOAT: "a number"}


class Misread(yaml.YAMLError):
    """Valid YAML that does not mean what it says, or is beyond a limit; the message begins with "line N: "."""


class Loader(SAFE):
    """Reads 1e-3 as a number, 010 as ten, and dates, times (12:30) and = as text."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (BOOL, NULL, MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class TextLoader(BASE):
    """Reads every word as text: yes, 01 and ~ are what they say."""


class Dumper(yaml.SafeDumper):
    """Quotes the text that `Loader` would read as a number."""


def _construct_int(loader: Any, node: yaml.ScalarNode) -> int:
    digits = loader.construct_scalar(node).replace("_", "")
    return int(digits, 0 if re.match(r"[-+]?0[box]", digits) else 10)


def _represent_text(dumper: Any, text: str) -> yaml.Node:
    # PyYAML writes these line breaks as such, and reads them as spaces.
    return dumper.represent_scalar(STR, text, style='"' if re.search("[\x85\u2028\u2029]", text) else None)


Dumper.add_representer(str, _represent_text)
Loader.add_constructor(INT, _construct_int)
for _tag, _pattern in NUMBERS.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), list("-+.0123456789"))


def load_yaml(text: str) -> Any:
    """Returns the value of a YAML text, or the text itself if it holds nothing but comments.

    Raises:
      yaml.YAMLError: if it is not YAML; Misread, if a key is given twice, or is a word such as yes without quotes.
    """
    return _load(Loader, text)


def load_texts(text: str) -> Any:
    """Returns the value of a YAML text with all its words as text; raises yaml.YAMLError if it is not YAML."""
    return _load(TextLoader, text)


def dump_yaml(value: Any) -> str:
    """Formats plain data as YAML that `load_yaml` reads as the same data."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _load(kind: Any, text: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it has {len(text):,} characters: a config has at most {MAX_CHARACTERS:,}")
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return text
        if MAY_BE_LARGE.search(text):
            from t5x_lite.files.yaml_limits import check_size

            check_size(node)
        _make_keys_text(node, None, {}, set())
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except ValueError as error:  # such as !!int words
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def _make_keys_text(node: yaml.Node, name: str | None, lines: dict[str, int], done: set[int]) -> None:
    """Turns the keys below a node with a dotted name into text as written; raises Misread where it cannot.

    Args:
      lines: lines of the dotted names so far, because `a.b: 1` and `a: {b: 1}` are the same.
      done: ids of the nodes so far, because an alias leads to a node again.
    """
    if isinstance(node, yaml.ScalarNode) or id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            _make_keys_text(item, f"{name or ''}[{place}]", lines, done)
        return
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Misread(f"line {line}: {name or 'the file'} has a list or mapping as a key: use text")
        full = key.value if name is None else f"{name}.{key.value}"
        if key.tag in (BOOL, NULL):
            raise Misread(
                f"line {line}: {key.value or 'a missing word'}, a key of {name or 'the file'}, is {READS_AS[key.tag]} "
                f'in YAML, not a word: put it in quotes, "{key.value}"'
            )
        if key.tag != MERGE:
            if full in lines:
                first = "in the same line" if lines[full] == line else f"first in line {lines[full]}"
                raise Misread(f"line {line}: {full} is given twice, {first}: leave out one of them")
            lines[full], key.tag = line, STR
        _make_keys_text(value, full, lines, done)
