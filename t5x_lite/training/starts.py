# SPDX-License-Identifier: Apache-2.0
"""The starts of a run, which its `environment.json` lists."""

import json
import pathlib
from typing import Any


def read_starts(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the starts in `environment.json`, oldest first; of those before there was a list, only the last is known.

    Raises:
      ValueError: if the file is damaged.
    """
    try:
        last = json.loads(path.read_text())
        return list(last.get("starts", [last]))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: restore it, or remove it") from error
