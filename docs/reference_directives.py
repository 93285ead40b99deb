# SPDX-License-Identifier: Apache-2.0
"""Sphinx directives that write the reference pages from the code at build time.

{config-reference}   every field of every config dataclass, from its type, default and docstring
{command-reference}  every subcommand and option, from the parser of `t5x-lite`
{public-names}       every name of `t5x_lite.__all__`, through autodoc
"""

import argparse
import ast
import dataclasses
import inspect
import itertools
import pathlib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import docstring_parser
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import t5x_lite
from t5x_lite import config
from t5x_lite.commands.options import make_parser
from t5x_lite.config import commands, encoding, generation

PACKAGE = pathlib.Path(t5x_lite.__file__).parent
CONFIG_FILES = PACKAGE.parent / "configs"
# The sections of the page of config fields, in reading order.
CONFIGS = ("RunConfig", "ModelConfig", "InferConfig", "GenerationConfig", "EmbedConfig", "EncodingConfig")
CONFIGS += ("ServeConfig", "AttentionConfig", "CompileConfig", "PrepareConfig", "TokenizerTrainConfig")


class MarkdownDirective(SphinxDirective):
    """Parses the Markdown that `sections` yields, as if it were part of the page."""

    def run(self) -> list[nodes.Node]:
        parsed: list[nodes.Node] = []
        for title, body in self.sections():
            section = nodes.section(ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)])
            section += nodes.title(title, title)
            self.state.document.note_explicit_target(section, section)
            self.state.nested_parse(StringList(body.splitlines(), source=self.name), self.content_offset, section)
            parsed.append(section)
        return parsed

    def sections(self) -> Iterator[tuple[str, str]]:
        """Yields (title, Markdown)."""
        raise NotImplementedError


class ConfigReference(MarkdownDirective):
    """Writes a section for each config dataclass that can be reached from CONFIGS."""

    def sections(self) -> Iterator[tuple[str, str]]:
        seen: set[type] = set()
        for name in CONFIGS:
            for prefix, cls in nested(find_config(name), ""):
                if cls not in seen:
                    seen.add(cls)
                    yield (prefix.rstrip(".") or cls.__name__), describe_fields(cls, prefix)


def find_config(name: str) -> type:
    """Returns a config dataclass by name."""
    return next(getattr(module, name) for module in (config, commands, generation, encoding) if hasattr(module, name))


def nested(cls: type, prefix: str) -> Iterator[tuple[str, type]]:
    """Yields (dotted prefix, dataclass) of a config and of all configs inside it."""
    yield prefix, cls
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        for inner in dataclasses_in(hints[field.name]):
            if (inner is not cls and inner is not config.TaskConfig) or not prefix.startswith("task."):
                yield from nested(inner, f"{prefix}{field.name}.")


def dataclasses_in(hint: Any) -> list[type]:
    """Returns the dataclasses named by a type hint such as `MixtureConfig | None`."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return [option for option in options if inspect.isclass(option) and dataclasses.is_dataclass(option)]


def describe_fields(cls: Any, prefix: str) -> str:
    """Returns a Markdown definition list of a dataclass's fields."""
    docstring = docstring_parser.parse(inspect.getdoc(cls) or "")
    texts = {param.arg_name: param.description or "" for param in docstring.params}
    if cls is config.ModelConfig:  # has comments; the options of a run describe the same fields
        options = docstring_parser.parse(inspect.getdoc(config.ModelOptions) or "")
        texts = comments(cls) | {param.arg_name: param.description or "" for param in options.params}
    lines = [f"{docstring.short_description} (`{cls.__module__}.{cls.__name__}`)", ""]
    for field in dataclasses.fields(cls):
        default = "required" if field.default is dataclasses.MISSING else f"default `{as_yaml(field.default)}`"
        if dataclasses.is_dataclass(field.default):
            default = f"see [{prefix}{field.name}](#{nodes.make_id(prefix + field.name)})"
        text = " ".join(escape(texts.get(field.name, "")).split())
        lines += [f"`{prefix}{field.name}`", f": {sentence(text)}", f"  *{type_name(field.type)}, {default}*"]
        lines += [""]
    return "\n".join(lines)


def comments(cls: type) -> dict[str, str]:
    """Returns the comments that follow a dataclass's fields."""
    lines = (re.match(r"\s+(\w+): [^#]*#\s*(.*)", line) for line in inspect.getsource(cls).splitlines())
    return {match[1]: match[2] for match in lines if match}


def type_name(hint: Any) -> str:
    """Returns a type as a reader of YAML would write it."""
    text = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    if typing.get_origin(hint) is not None or isinstance(hint, types.UnionType):
        text = str(hint)
    text = re.sub(r"typing\.|t5x_lite\.config\.\w+\.", "", text).replace("None", "null")
    text = re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace("'", "").replace(", ", " | "), text)
    return escape(text)


def as_yaml(value: Any) -> str:
    """Returns a default as it would be written in a config file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return (
        repr(value)
        if isinstance(value, str) and (not value or value != value.strip())
        else str(value).replace("\n", "\\n")
    )


def sentence(text: str) -> str:
    """Returns a docstring's fragment as a sentence."""
    text = text[:1].upper() + text[1:] if re.match(r"[a-z]+(?![\w.:]*[.:_]\w)", text) else text
    return text if text.endswith((".", "!", "?")) else f"{text}."


def escape(text: str) -> str:
    """Escapes what Markdown would read as markup, outside `code`."""
    parts = text.split("`")
    return "`".join(re.sub(r"([*_<>\[\]])", r"\\\1", part) if n % 2 == 0 else part for n, part in enumerate(parts))


class CommandReference(MarkdownDirective):
    """Writes a section for each subcommand."""

    def sections(self) -> Iterator[tuple[str, str]]:
        for name, parser in subcommands(make_parser(), "t5x-lite"):
            yield name, describe_command(name, parser)


def subcommands(parser: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields (full name, parser) of the commands, without those that only group others."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield name, parser
    for action in inner:
        for subname, subparser in action.choices.items():
            yield from subcommands(subparser, f"{name} {subname}")


def describe_command(name: str, parser: Any) -> str:
    """Returns a subcommand's description and options; the fields of a run are described elsewhere."""
    parts = [escape(" ".join((parser.description or "").split()))]
    if getattr(parser, "epilog", None):
        parts.append(f"```text\n{parser.epilog}\n```")
    run_fields = {field.name for field in dataclasses.fields(config.RunConfig)}
    takes_run = any(action.dest.startswith("train.") for action in parser._actions)
    for action in parser._actions:
        top = action.dest.partition(".")[0]
        of_run = takes_run and top in run_fields and action.metavar != "DIR"  # eval has a --checkpoint of its own
        hidden = action.help in (argparse.SUPPRESS, "Path to a configuration file.")
        if not (of_run or hidden or action.dest in ("help", "print_config")):
            parts.append(describe_option(action))
    if takes_run:
        parts.append("It also takes every field of a [run's config](config.md) as `--dotted.name VALUE`.")
    return "\n\n".join(parts)


def describe_option(action: argparse.Action) -> str:
    """Returns an option's names and text as a Markdown definition."""
    names = ", ".join(f"`{name}`" for name in action.option_strings if "+" not in name)
    names = names or f"`{action.metavar or action.dest}`"
    text = escape(" ".join((action.help or "").replace("%(default)s", "").split())) or "See the field of this name."
    has_default = action.default not in (None, argparse.SUPPRESS, False) and not dataclasses.is_dataclass(
        action.default
    )
    default = f" *Default `{as_yaml(action.default)}`.*" if has_default and not isinstance(action.default, dict) else ""
    return f"{names}\n: {sentence(text)}{default}"


class ModuleReference(MarkdownDirective):
    """Writes a section for each folder of the package; modules are parsed, not imported."""

    def sections(self) -> Iterator[tuple[str, str]]:
        for folder in sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
            modules = [
                path for path in sorted(folder.rglob("*.py")) if path.parent != folder or path.stem != "__init__"
            ]
            rows = [f"| `{path.relative_to(folder)}` | {first_line(path)} |" for path in modules if first_line(path)]
            yield (
                f"{folder.name}/",
                "\n".join([first_line(folder / "__init__.py"), "", "| module | |", "|---|---|", *rows]),
            )


def first_line(path: pathlib.Path) -> str:
    """Returns the first paragraph of a module's docstring in one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return escape(" ".join(docstring.partition("\n\n")[0].split())).replace("|", "\\|")


class ShippedConfigs(MarkdownDirective):
    """Writes a section for each file of `configs/`."""

    def sections(self) -> Iterator[tuple[str, str]]:
        for path in sorted(CONFIG_FILES.rglob("*.yaml")):
            lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
            yield str(path.relative_to(CONFIG_FILES)), as_paragraphs([line[1:] for line in lines])


def as_paragraphs(lines: list[str]) -> str:
    """Returns a comment as Markdown: indented lines are commands."""
    parts = []
    for is_command, group in itertools.groupby(lines, key=lambda line: line.startswith("   ")):
        text = "\n".join(line.strip() for line in group)
        parts.append(f"```text\n{text}\n```" if is_command else escape(text))
    return "\n\n".join(parts)


class PublicNames(SphinxDirective):
    """Documents `t5x_lite.__all__` with autodoc."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name in t5x_lite.__all__:
            value = getattr(t5x_lite, name)
            if dataclasses.is_dataclass(value):
                summary = (inspect.getdoc(value) or "").splitlines()[0]
                lines += [f".. py:class:: t5x_lite.{name}", "", f"   {summary}", ""]
                lines += ["   A frozen dataclass; its fields are on the page of config fields.", ""]
            elif inspect.isclass(value):
                members = "__call__" if "__call__" in vars(value) else ""
                lines += [f".. autoclass:: t5x_lite.{name}{signature(value)}", f"   :members: {members}", ""]
            elif inspect.isfunction(value):
                lines += [f".. autofunction:: t5x_lite.{name}", ""]
            else:
                lines += [f".. py:data:: t5x_lite.{name}", "   :type: Mapping[str, ModelConfig]", ""]
                lines += ["   The published architectures by name; `t5x-lite models` lists them.", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def signature(cls: type) -> str:
    """Returns the parameters of a class's constructor, which the metaclass of Flax's modules hides."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return str(inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters]))


def make_literal_blocks(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turns the indented code of docstrings into literal blocks, which reStructuredText would take for quotations."""
    del app, what, name, obj, options
    for number in range(len(lines) - 1, 0, -1):
        starts = lines[number].startswith("    ") and not lines[number - 1].strip()
        if starts and number > 1 and lines[number - 2].strip() and not lines[number - 2].startswith(" "):
            lines[number:number] = ["::", ""]


def drop_return_types_of_classes(app: Sphinx, doctree: nodes.document) -> None:
    """Removes the return type `Any`, which the metaclass of Flax's modules gives to their classes."""
    del app
    for field in list(doctree.findall(nodes.field)):
        if [part.astext() for part in field.children] == ["Return type", "Any"]:
            field.parent.remove(field)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("config-reference", ConfigReference)
    app.add_directive("command-reference", CommandReference)
    app.add_directive("module-reference", ModuleReference)
    app.add_directive("shipped-configs", ShippedConfigs)
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", make_literal_blocks, priority=100)
    app.connect("doctree-read", drop_return_types_of_classes)
    return {"parallel_read_safe": True}
