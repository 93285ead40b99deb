# SPDX-License-Identifier: Apache-2.0
"""Metrics that compare predictions with references, by name: NAME or NAME:ARGUMENT, such as `f1:entailment`.

As in T5, all scores but edit distances are multiplied by 100.
"""

import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

from t5x_lite.evaluation.metrics import classification, correlation, edit_distance, ngrams, question_answering
from t5x_lite.evaluation.metrics.reference import Reference as Reference


class _Metric(NamedTuple):
    function: Callable[..., dict[str, float]]  # takes predictions, references and the argument, if any
    argument: str = ""
    package: str = ""


_METRICS = {
    "accuracy": _Metric(classification.accuracy),
    "bleu": _Metric(ngrams.bleu, package="sacrebleu"),
    "deduplicated_squad": _Metric(question_answering.deduplicated_squad),
    "edit_distance": _Metric(edit_distance.edit_distance),
    "exact_match": _Metric(classification.exact_match),
    "f1": _Metric(classification.f1, argument="POSITIVE_LABEL"),
    "matthews": _Metric(classification.matthews),
    "mean_f1": _Metric(classification.mean_f1),
    "pearson": _Metric(correlation.pearson),
    "rouge": _Metric(ngrams.rouge, package="rouge_score"),
    "spearman": _Metric(correlation.spearman),
    "squad": _Metric(question_answering.squad),
    "trivia_qa": _Metric(question_answering.trivia_qa),
}


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError if a metric is unknown, has a missing or unexpected argument, or its package is missing."""
    for full_name in names:
        name, _, argument = full_name.partition(":")
        if name not in _METRICS:
            known = ", ".join(f"{name}:{m.argument}" if m.argument else name for name, m in _METRICS.items())
            raise ValueError(f"task.metrics has {full_name!r}, which is not a metric: use one of {known}")
        metric = _METRICS[name]
        if metric.argument and not argument:
            raise ValueError(f"task.metrics has {full_name!r}, which needs an argument: write {name}:{metric.argument}")
        if not metric.argument and full_name != name:
            raise ValueError(f"task.metrics has {full_name!r}, but {name} takes no argument: write {name}")
        if metric.package and importlib.util.find_spec(metric.package) is None:
            raise ValueError(
                f"task.metrics has {name!r}, which needs the package {metric.package}: pip install 't5x-lite[eval]'"
            )


def measure(names: Sequence[str], predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Computes metrics of predictions, given the references in the same order.

    Returns:
      Values by name: the metric's own (accuracy, rouge2), or metric/value if it has several (squad/em, f1/LABEL); nan
      if undefined for these examples.

    Raises:
      ValueError: as `check_names`; if there are no examples, or the numbers of predictions and references differ; if a
        target is unsuitable for a metric.
    """
    check_names(names)
    if len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions and {len(references)} references: pass one of each per example"
        )
    if not references:
        raise ValueError("there are no examples to compute task.metrics on: pass one or more")
    results = {}
    for full_name in names:
        name, _, argument = full_name.partition(":")
        metric = _METRICS[name]
        results |= metric.function(predictions, references, *([argument] if metric.argument else []))
    return results
