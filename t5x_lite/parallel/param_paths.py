# SPDX-License-Identifier: Apache-2.0
"""Pytree leaves by path, such as a model's `encoder/blocks/attention/query`."""

from collections.abc import Mapping
from typing import Any

import jax


def to_pure_dict(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a pytree in dictionaries nested by path."""
    pure: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        *parents, name = _names(path)
        node = pure
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return pure


def from_pure_dict(tree: Any, pure: Mapping[str, Any]) -> Any:
    """Returns a pytree like `tree` with the leaves of `pure`; the inverse of `to_pure_dict`."""

    def leaf(path: tuple[Any, ...], _: Any) -> Any:
        node: Any = pure
        for name in _names(path):
            node = node[name]
        return node

    return jax.tree_util.tree_map_with_path(leaf, tree)


def named_leaves(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a pytree by slash-joined path."""
    return {"/".join(_names(path)): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def from_named_leaves(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """Returns a pytree like `tree` with the leaves of `leaves`; the inverse of `named_leaves`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves["/".join(_names(path))], tree)


def _names(path: tuple[Any, ...]) -> list[str]:
    names = [jax.tree_util.keystr((key,), simple=True) for key in path]
    # A Flax variable is a node with a single child, `value`, which is left out.
    return names[:-1] if len(names) > 1 and names[-1] == "value" else names
