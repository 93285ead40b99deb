# SPDX-License-Identifier: Apache-2.0
"""Files that hold one JSON object."""

import json
import pathlib
from typing import Any

from t5x_lite.files.git_lfs import check_downloaded


def read_json_if_there(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object; returns an empty one if the file is missing."""
    return read_json(path) if path.is_file() else {}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object; raises ValueError if the file is missing or holds anything else."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: name a directory that save_pretrained wrote") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        if path.is_file():
            check_downloaded(path)
        raise ValueError(f"{path} cannot be read as JSON ({error}): it is damaged; download it again") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is not a JSON object: it is damaged; download it again")
    return fields
