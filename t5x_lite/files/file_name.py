# SPDX-License-Identifier: Apache-2.0
"""Names of files that other files hold, such as those of the weights in an index."""

import pathlib

MAX_BYTES = 200  # file systems allow 255, of which some is kept for what is added to a name


def is_file_name(name: object) -> bool:
    """Returns whether it names a file beside the one that holds the name, not a path that leads elsewhere."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and pathlib.PurePath(name).name == name
        and "\\" not in name
        and name.isprintable()  # neither NUL nor lone surrogates, which messages could not show either
        and len(name.encode()) <= MAX_BYTES
    )
