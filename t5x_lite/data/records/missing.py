# SPDX-License-Identifier: Apache-2.0
"""Missing values of records: null, NaN, and what pandas writes for them."""

import numbers
from typing import Any

PANDAS_MISSING = ("NAType", "NaTType")  # pandas need not be installed


def is_missing(value: Any) -> bool:
    """Returns whether a value is None, NaN, pandas.NA or pandas.NaT."""
    if value is None or type(value).__name__ in PANDAS_MISSING:
        return True
    return isinstance(value, numbers.Real) and value != value


def without_missing(value: Any) -> Any:
    """Returns a value without the missing items of its lists; None if it is missing itself."""
    if is_missing(value):
        return None
    return [item for item in value if not is_missing(item)] if isinstance(value, (list, tuple)) else value
