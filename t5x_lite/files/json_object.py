# SPDX-License-Identifier: Apache-2.0
"""JSON files that may come from anybody, read within limits of memory and time."""

import json
import os
import pathlib
from typing import Any

from t5x_lite.files.reading import read_bytes

# A value takes up to 100 bytes of memory. mT5's tokenizer.json has 17 MB and 0.8 million; T5's largest index 100 kB.
MAX_BYTES, MAX_BYTES_OF_A_VOCABULARY, MAX_SEPARATORS = 2**23, 2**25, 4_000_000


def read_json_if_there(path: pathlib.Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Reads a JSON object; returns an empty one if the file is missing."""
    return read_json(path, max_bytes) if path.is_file() else {}


def read_json(path: pathlib.Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Reads a JSON object; raises ValueError if the file is missing, too large, or holds anything else."""
    try:
        fields = parse_json(read_bytes(path, max_bytes), path)
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: name a directory that save_pretrained wrote") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}): it is damaged; download it again") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is not a JSON object: it is damaged; download it again")
    return fields


def parse_json(content: bytes, path: str | os.PathLike[str]) -> Any:
    """Returns the value of a JSON text; raises ValueError, with the path of its file, if it has none or too many."""
    check_number_of_values(content, path)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{path} cannot be read as JSON ({reason}): it is damaged; download it again") from error


def check_number_of_values(content: bytes, path: str | os.PathLike[str]) -> None:
    """Raises ValueError, with the path of its file, if a JSON text has more values than fit into memory."""
    separators = sum(map(content.count, (b",", b"[", b"{")))
    if separators > MAX_SEPARATORS:
        raise ValueError(f"{path} has {separators:,} values, more than any such file: download it again")
