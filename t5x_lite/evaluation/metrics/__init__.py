# SPDX-License-Identifier: Apache-2.0
"""Metrics by name: predicted texts against those asked for.

A name is NAME or NAME:ARGUMENT, as in `accuracy` and `f1:entailment`. Shares, correlations and BLEU are times 100, as
T5 reports them.
"""

import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

from t5x_lite.evaluation.metrics import classification, correlation, edit_distance, ngrams, question_answering
from t5x_lite.evaluation.metrics.reference import Reference as Reference

__all__ = ["Reference", "check_names", "measure"]


class _Metric(NamedTuple):
    function: Callable[..., dict[str, float]]  # of predictions, references and, if it has one, the argument
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
    """Makes sure that `measure` can be asked for these names here.

    Raises:
      ValueError: if there is no metric of a name, its argument is missing or too much, or its package is not installed.
    """
    for full_name in names:
        name, _, argument = full_name.partition(":")
        if name not in _METRICS:
            there_are = ", ".join(f"{known}:{m.argument}" if m.argument else known for known, m in _METRICS.items())
            raise ValueError(f"task.metrics has {full_name!r}, which is no metric: there are {there_are}")
        metric = _METRICS[name]
        if metric.argument and not argument:
            raise ValueError(
                f"task.metrics has {full_name!r}, which lacks its argument: write {name}:{metric.argument}"
            )
        if not metric.argument and full_name != name:
            raise ValueError(f"task.metrics has {full_name!r}, and {name} takes no argument: write {name}")
        if metric.package and importlib.util.find_spec(metric.package) is None:
            raise ValueError(
                f"task.metrics has {name!r}, whose package {metric.package} is not installed: "
                "pip install 't5x-lite[eval]'"
            )


def measure(names: Sequence[str], predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Judges predictions by each of the metrics.

    Args:
      names: metrics, NAME or NAME:ARGUMENT.
      predictions: one text an example.
      references: what each of them is judged by, in the same order.

    Returns:
      Figures by name: a metric's own (accuracy, rouge2), or metric/figure where the figure's says too little alone
      (squad/em, f1/LABEL). One that these examples leave undefined is nan.

    Raises:
      ValueError: as `check_names`; if there are no examples, or not as many predictions as references; if targets are
        not what a metric needs.
    """
    check_names(names)
    if len(predictions) != len(references):
        raise ValueError(
            f"predictions are {len(predictions)} and references {len(references)}: pass one of each for every example"
        )
    if not references:
        raise ValueError("task.metrics has nothing to measure, as there are 0 examples: pass one or more")
    results = {}
    for full_name in names:
        name, _, argument = full_name.partition(":")
        metric = _METRICS[name]
        results |= metric.function(predictions, references, *([argument] if metric.argument else []))
    return results
