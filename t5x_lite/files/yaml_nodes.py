# SPDX-License-Identifier: Apache-2.0
"""Nodes of a YAML text, which keep lines and words as written, for errors."""

from collections.abc import Iterator

import yaml

from t5x_lite.files.yaml_text import READS_AS, Loader


def compose(text: str) -> yaml.Node | None:
    """Returns the root node of a YAML text; None if there is none."""
    return yaml.compose(text, Loader=Loader)


def entries(node: yaml.Node | None, key: str) -> Iterator[tuple[str, yaml.Node]]:
    """Yields (dotted name, value) of the entries of mappings under a node whose dotted name ends with `key`."""

    def under(node: yaml.Node, name: str, above: list[yaml.Node]) -> Iterator[tuple[str, yaml.Node]]:
        if f".{name}".endswith(f".{key}"):
            yield name, node
        if isinstance(node, yaml.MappingNode) and not any(node is other for other in above):
            for part, value in node.value:
                yield from under(value, f"{name}.{part.value}" if name else str(part.value), [*above, node])

    if node is not None:
        yield from under(node, "", [])


def read_as(node: yaml.Node) -> str | None:
    """Describes a word at or below a node that YAML does not read as text: "yes, which YAML reads as true or false"."""
    if isinstance(node, yaml.ScalarNode):
        return (
            f"{node.value}, which YAML reads as {READS_AS[node.tag]}" if node.tag in READS_AS and node.value else None
        )
    items = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    return next(filter(None, map(read_as, items)), None)
