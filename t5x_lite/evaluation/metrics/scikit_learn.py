# SPDX-License-Identifier: Apache-2.0
"""The metrics of scikit-learn by name (extra `eval`), such as `sklearn:balanced_accuracy`.

Source: T5 `sklearn_metrics_wrapper`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from t5x_lite.evaluation.metrics.correlation import as_number, predicted_numbers
from t5x_lite.evaluation.metrics.reference import Reference


def sklearn(predictions: Sequence[str], references: Sequence[Reference], asked: str) -> dict[str, float]:
    """A function of `sklearn.metrics`, with or without "_score" at its end, as sklearn/NAME; not multiplied by 100.

    Options follow the name: `sklearn:f1_score,average=macro`. If all targets are numbers, the function gets numbers,
    with -1 for predictions that are not; otherwise, texts.
    """
    name, function, options = find(asked)
    targets: Sequence[Any] = [as_number(reference.targets) for reference in references]
    predicted: Sequence[Any] = predicted_numbers(predictions).tolist()
    if None in targets:
        targets, predicted = [reference.targets for reference in references], predictions
    try:
        return {f"sklearn/{name}": float(function(targets, predicted, **options))}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"task.metrics has sklearn:{asked}, which does not suit the task ({error}): see scikit-learn's docs"
        ) from error


def find(asked: str) -> tuple[str, Callable[..., Any], dict[str, Any]]:
    """Returns the name, the function and the options; raises ValueError if there is no such function."""
    from sklearn import metrics

    name, *pairs = asked.split(",")
    options = {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"task.metrics has sklearn:{asked}, but {pair!r} is not an option: write OPTION=VALUE")
        options[option.strip()] = _value(value.strip())
    for candidate in (name, f"{name}_score"):
        if candidate in metrics.__all__ and callable(function := getattr(metrics, candidate)):
            return name, function, options
    raise ValueError(
        f"task.metrics has sklearn:{asked}, but sklearn.metrics has no {name} or {name}_score: use a function of true "
        "and predicted values that its documentation lists"
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
