# SPDX-License-Identifier: Apache-2.0
"""Limits of YAML, whose aliases can stand for more values than any memory holds; no config comes near them."""

import itertools
from typing import Any

import yaml

from t5x_lite.files.yaml_text import Misread

MAX_DEPTH = 64
MAX_REPEATED = 10_000  # values that aliases add to those that are written


def check_size(node: yaml.Node) -> None:
    """Raises Misread if the values at and below a node are nested too deeply, or repeated too often."""
    sizes: dict[int, int] = {}
    if _size(node, sizes, 0) > len(sizes) + MAX_REPEATED:
        raise Misread(f"line 1: aliases, such as *a, repeat more than {MAX_REPEATED:,} values: write fewer")


def _size(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """Returns the number of values at and below a node, aliases written out; `sizes` has those of nodes so far.

    Raises:
      Misread: if a node is inside itself, or more than MAX_DEPTH deep.
    """
    if (known := sizes.get(id(node))) is not None:
        if known:
            return known
        raise Misread(f"line {node.start_mark.line + 1}: an alias, such as *a, is inside what it stands for")
    if depth > MAX_DEPTH:
        raise Misread(f"line {node.start_mark.line + 1}: values are nested more than {MAX_DEPTH} deep")
    sizes[id(node)] = 0  # until it is known
    children: Any = () if isinstance(node, yaml.ScalarNode) else node.value
    if isinstance(node, yaml.MappingNode):
        children = itertools.chain.from_iterable(children)
    sizes[id(node)] = 1 + sum(_size(child, sizes, depth + 1) for child in children)
    return sizes[id(node)]
