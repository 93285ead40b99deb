# SPDX-License-Identifier: Apache-2.0
"""The starts of a run, which its `environment.json` lists."""

import json
import pathlib
from typing import Any

from t5x_lite.files.checksum import KEY, tell_changed, with_key


def read_starts(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the starts in `environment.json`, oldest first; of those before there was a list, only the last is known.

    Prints a line if the file is missing, or was changed by anything but a start of the run.

    Raises:
      ValueError: if the file is damaged.
    """
    if not path.is_file():
        tell_changed(path, "is missing, and with it the record of earlier starts")
        return []
    try:
        last = json.loads(path.read_text())
        starts = list(last.get("starts", [last]))
        if KEY in last and last != with_key(last):
            tell_changed(path)
        return starts
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: restore it, or remove it") from error
