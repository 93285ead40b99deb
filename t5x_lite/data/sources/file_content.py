# SPDX-License-Identifier: Apache-2.0
"""Decodes the records of files, and notices that a file has changed."""

import hashlib
import json
import os
import pathlib
from typing import Any

from t5x_lite.data.sources.base import BadRecord, Record

FileState = tuple[int, int]  # size in bytes and modification time in nanoseconds, to detect changes


def decoded(content: bytes, where: str) -> str:
    """Decodes a record as UTF-8, or raises BadRecord."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin1"
        raise BadRecord(
            f"{where} is not UTF-8 (its byte {error.start} is 0x{content[error.start]:02x}): convert the file to "
            f"UTF-8, as with iconv -f {encoding} -t utf-8"
        ) from error


def json_object(text: str, where: str) -> Record:
    """Parses a JSON object, or raises BadRecord."""
    try:
        record = json.loads(text, object_pairs_hook=_with_different_keys)
    except (ValueError, RecursionError) as error:  # ValueError also for integers of over 4,300 digits
        reason = str(error).partition(";")[0]  # without Python's advice to raise the limit
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg}, column {error.colno}"
        raise BadRecord(f"{where} is not valid JSON ({reason}): fix or remove the record") from error
    if not isinstance(record, dict):
        raise BadRecord(f"{where} is a JSON {type(record).__name__}: make each record an object, {{...}}")
    return record


def _with_different_keys(pairs: list[tuple[str, Any]]) -> Record:
    """Returns a JSON object; raises ValueError for a key that is given twice, of which Python would keep the last."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in record if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return record


def state_of(file: pathlib.Path | int) -> FileState:
    """Returns the state of a file, given by path or descriptor."""
    stat = os.stat(file)
    return stat.st_size, stat.st_mtime_ns


def check_unchanged(name: str, before: FileState, now: FileState) -> None:
    """Raises ValueError if the file has changed since it was opened."""
    if now != before:
        raise ValueError(f"{name} has changed since it was opened: run again when nothing is writing to it")


def file_key(path: pathlib.Path) -> str:
    """Returns a name for cached files derived from this one, which changes whenever the file does."""
    num_bytes, nanoseconds = state_of(path)
    digest = hashlib.blake2b(f"{path.resolve()} {num_bytes} {nanoseconds}".encode(), digest_size=6)
    return f"{path.name.split('.')[0]}-{digest.hexdigest()}"
