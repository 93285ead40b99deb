# SPDX-License-Identifier: Apache-2.0
"""Recognises the pointers that Git leaves in place of large files if it was cloned without Git LFS.

Source: the Git LFS specification, `docs/spec.md`.
"""

import pathlib

POINTER_START = b"version https://git-lfs.github.com/spec/v1"


def check_downloaded(path: pathlib.Path) -> None:
    """Raises ValueError if a file is a Git LFS pointer, not the content that it stands for."""
    with path.open("rb") as file:
        if file.read(len(POINTER_START)) == POINTER_START:
            raise ValueError(
                f"{path} is a Git LFS pointer, not the file that it stands for: install Git LFS and run `git lfs pull` "
                f"in {path.parent}, or download the file itself, for example with `hf download`"
            )
