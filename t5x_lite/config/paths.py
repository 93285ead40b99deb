# SPDX-License-Identifier: Apache-2.0
"""Paths in configs and arguments: `~` stands for the home directory."""

import os


def home_expanded(path: str | os.PathLike[str], name: str) -> str:
    """Returns a path with a leading `~` or `~user` replaced by the home directory.

    Args:
      path: any path; only its beginning is looked at, so that names such as tfds:... stay as they are.
      name: the field or option of the path, for errors.

    Raises:
      ValueError: if there is no such user, rather than creating a directory whose name begins with ~.
    """
    text = os.fspath(path)
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ValueError(
            f"{name} {text!r} begins with an unknown user: write the full path, or ./{text} for a file of that name"
        )
    return expanded


def expand_home(config: object, prefix: str, fields: str) -> None:
    """Expands `~` in space-separated fields of a frozen config; the prefix precedes their names in errors."""
    for field in fields.split():
        value = getattr(config, field)
        if isinstance(value, str):
            object.__setattr__(config, field, home_expanded(value, prefix + field))
