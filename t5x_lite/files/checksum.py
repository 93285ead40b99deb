# SPDX-License-Identifier: Apache-2.0
"""Checksums that tell whether the files of a run are as they were written; a change by hand is told, not undone."""

import functools
import json
import pathlib
import sys
import zlib
from collections.abc import Mapping
from typing import Any

MARK = b"# checksum of what follows: "  # the first line of a text with a checksum, a comment in YAML; then 8 hex digits
KEY = "checksum"  # of a JSON object, of its other fields


def crc(content: bytes, before: int = 0) -> str:
    """Returns a checksum in hexadecimal; `before` is that of what comes before the content."""
    return f"{zlib.crc32(content, before):08x}"


def with_first_line(text: str) -> bytes:
    """Returns a text behind a line with its checksum; both are written at once, so no kill can come between."""
    content = text.encode()
    return MARK + crc(content).encode() + b"\n" + content


def is_changed(content: bytes) -> bool:
    """Returns whether the bytes of `with_first_line` have changed; other texts, of earlier versions, have not."""
    begins = len(MARK) + len(crc(b"")) + 1
    return content.startswith(MARK) and content != MARK + crc(content[begins:]).encode() + b"\n" + content[begins:]


def with_key(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns JSON fields with one more, their checksum."""
    others = {name: value for name, value in fields.items() if name != KEY}
    return others | {KEY: crc(json.dumps(others, sort_keys=True).encode())}


@functools.cache
def tell_changed(path: pathlib.Path, what: str = "was changed after the run wrote it (edited, or damaged)") -> None:
    """Prints, once, that a file of a run is not as it was written."""
    print(f"{path} {what}", file=sys.stderr)
