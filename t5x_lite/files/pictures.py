# SPDX-License-Identifier: Apache-2.0
"""Whether commands can draw pictures with matplotlib, which comes with the plot extra."""

import importlib.util


def can_draw() -> bool:
    """Returns whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None
