# SPDX-License-Identifier: Apache-2.0
"""Options whose values differ by parameter.

Source: T5X `HParamMap` in `adafactor.py`.
"""

import re
from collections.abc import Mapping
from typing import Any

from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves


def by_parameter(option: str, values: Mapping[str, Any], params: Any) -> Any:
    """Returns a pytree like `params` with each parameter's value.

    Args:
      option: the option's name, for errors.
      values: values by regular expressions, of which the first one found in a parameter's path, such as
        encoder/blocks/mlp/wo, decides.
      params: a pytree.

    Raises:
      ValueError: if an expression is invalid or decides for no parameter, or none decides for a parameter.
    """
    try:
        patterns = {re.compile(text): text for text in values}
    except re.error as error:
        raise ValueError(f"{option} has {error.pattern!r}, which is no regular expression ({error})") from error
    deciding: dict[str, str] = {}
    for path in named_leaves(params):
        found = next((text for pattern, text in patterns.items() if pattern.search(path)), None)
        if found is None:
            raise ValueError(f"{option} has no expression for the parameter {path}: add '.*' as the last one")
        deciding[path] = found
    for text in values:
        if text not in deciding.values():
            raise ValueError(
                f"{option} has {text!r}, which decides for no parameter: correct or move it; the parameters are "
                f"{', '.join(deciding)}"
            )
    return from_named_leaves(params, {path: values[text] for path, text in deciding.items()})
