# SPDX-License-Identifier: Apache-2.0
"""Metrics that compare predictions, or the scores of targets, with references: NAME or NAME:ARGUMENT, such as `f1:yes`.

As in T5, all metrics are multiplied by 100 but edit distances, `auc`, `score_auc` and scikit-learn's.
"""

import difflib
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple

from t5x_lite.evaluation.metrics import (
    classification,
    correlation,
    edit_distance,
    ngrams,
    question_answering,
    ranking,
    referent,
    scikit_learn,
)
from t5x_lite.evaluation.metrics.reference import Reference as Reference
from t5x_lite.evaluation.metrics.reference import TargetScore as TargetScore
from t5x_lite.evaluation.metrics.reference import grouped

Kind = Literal["predictions", "scores"]
OF_GROUPS = "group_mean"


class _Metric(NamedTuple):
    function: Callable[..., dict[str, float]]  # takes what it `reads`, the references and the argument, if any
    argument: str = ""  # in brackets if it may be left out
    package: str = ""
    reads: Kind = "predictions"
    is_argument: Callable[[str], object] = bool  # None, False or a ValueError for a wrong argument
    needs: bool = False  # something of the references that not all of them have


_METRICS = {
    "accuracy": _Metric(classification.accuracy),
    "auc": _Metric(ranking.auc, argument="[THRESHOLD]", is_argument=correlation.as_number, needs=True),
    "bleu": _Metric(ngrams.bleu, package="sacrebleu"),
    "cased_edit_distance": _Metric(edit_distance.cased_edit_distance),
    "coqa_f1": _Metric(question_answering.coqa_f1),
    "deduplicated_squad": _Metric(question_answering.deduplicated_squad),
    "edit_distance": _Metric(edit_distance.edit_distance),
    "exact_match": _Metric(classification.exact_match),
    "f1": _Metric(classification.f1, argument="POSITIVE_LABEL"),
    "matthews": _Metric(classification.matthews),
    "mean_f1": _Metric(classification.mean_f1, argument="[LABEL,LABEL...]"),
    "pearson": _Metric(correlation.pearson, needs=True),
    "rank_classification": _Metric(
        ranking.rank_classification, argument="[NUM_CLASSES]", reads="scores", is_argument=str.isdecimal, needs=True
    ),
    "rank_classification_by_token": _Metric(
        ranking.rank_classification_by_token,
        argument="[NUM_CLASSES]",
        reads="scores",
        is_argument=str.isdecimal,
        needs=True,
    ),
    "rouge": _Metric(ngrams.rouge, package="rouge_score"),
    "score_auc": _Metric(
        ranking.score_auc, argument="[THRESHOLD]", reads="scores", is_argument=correlation.as_number, needs=True
    ),
    "sklearn": _Metric(scikit_learn.sklearn, argument="FUNCTION", package="sklearn", is_argument=scikit_learn.find),
    "span_squad": _Metric(question_answering.span_squad),
    "spearman": _Metric(correlation.spearman, needs=True),
    "squad": _Metric(question_answering.squad),
    "trivia_qa": _Metric(question_answering.trivia_qa),
    "wsc_accuracy": _Metric(referent.wsc_accuracy, needs=True),
}


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError if a metric is unknown, has a wrong, missing or unexpected argument, or lacks its package."""
    for full_name in names:
        name, colon, argument = _parsed(full_name)
        if name not in _METRICS:
            known = [f"{name}{_shown(metric)}" for name, metric in _METRICS.items()] + [f"{OF_GROUPS}:METRIC"]
            near = difflib.get_close_matches(name, _METRICS, n=1)
            raise ValueError(
                f"task.metrics has {full_name!r}, which is not a metric: use one of {', '.join(sorted(known))}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        metric = _METRICS[name]
        usage = f"write {name}{_shown(metric)}"
        if metric.package and importlib.util.find_spec(metric.package) is None:
            raise ValueError(
                f"task.metrics has {full_name!r}, which needs the package {metric.package}: pip install "
                "'t5x-lite[eval]'"
            )
        if not metric.argument and colon:
            raise ValueError(f"task.metrics has {full_name!r}, but {name} takes no argument: write {name}")
        if metric.argument and not argument and (colon or not metric.argument.startswith("[")):
            raise ValueError(f"task.metrics has {full_name!r}, which needs an argument: {usage}")
        if argument and not _suits(metric, argument):
            raise ValueError(f"task.metrics has {full_name!r}, whose argument is not one of {name}: {usage}")


def reads(names: Sequence[str]) -> set[Kind]:
    """Returns what metrics read besides references."""
    return {_METRICS[_parsed(name)[0]].reads for name in names}


def measure(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[Reference],
    scores: Sequence[TargetScore] = (),
) -> dict[str, float]:
    """Computes metrics of predictions, or of the targets' scores, given the references in the same order.

    Predictions or scores that no metric `reads` may be left empty.

    Returns:
      Values by name: the metric's own (accuracy, rouge2), or metric/value if it has several (squad/em, f1/LABEL); nan
      if undefined for these examples. `group_mean:METRIC` has group_mean/ in front.

    Raises:
      ValueError: as `check_names`; if there are no examples, or the numbers of predictions and references differ; if a
        target is unsuitable for a metric.
    """
    check_names(names)
    read = {"predictions": predictions, "scores": scores}
    for kind in sorted(reads(names) or {"predictions"}):
        if len(read[kind]) != len(references):
            raise ValueError(f"{len(read[kind])} {kind} and {len(references)} references: pass one of each per example")
    if not references:
        raise ValueError("there are no examples to compute task.metrics on: pass one or more")
    results = {}
    for full_name in names:
        name, _, argument = _parsed(full_name)
        metric = _METRICS[name]
        arguments = [argument] if argument else []
        if full_name.startswith(f"{OF_GROUPS}:"):
            results |= _of_groups(metric, read[metric.reads], references, arguments)
        else:
            results |= metric.function(read[metric.reads], references, *arguments)
    return results


def check_references(names: Sequence[str], references: Sequence[Reference]) -> None:
    """Raises the ValueError of `measure` for references that a metric cannot use, whatever the answers."""
    names = [name for name in names if _METRICS[_parsed(name)[0]].needs]
    if names and references:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the figures, which say nothing
            answers = [reference.targets for reference in references]
            measure(names, answers, references, [TargetScore(0.0, 1)] * len(references))


def _of_groups(
    metric: _Metric, values: Sequence[Any], references: Sequence[Reference], arguments: Sequence[str]
) -> dict[str, float]:
    """Returns the mean over groups of a metric of each group's examples; T5's `mean_group_metric`.

    As there, a value that some groups lack is averaged over the others.
    """
    of_groups = [
        metric.function([values[i] for i in group], [references[i] for i in group], *arguments)
        for group in grouped(references)
    ]
    names = dict.fromkeys(name for results in of_groups for name in results)
    return {f"{OF_GROUPS}/{name}": fmean(results[name] for results in of_groups if name in results) for name in names}


def _suits(metric: _Metric, argument: str) -> bool:
    found = metric.is_argument(argument)
    return found is not None and found is not False


def _parsed(full_name: str) -> tuple[str, str, str]:
    """Returns the name, the colon and the argument of a metric, or of the one by which groups are measured."""
    return full_name.removeprefix(f"{OF_GROUPS}:").partition(":")


def _shown(metric: _Metric) -> str:
    if metric.argument.startswith("["):
        return f"[:{metric.argument[1:]}"
    return f":{metric.argument}" if metric.argument else ""
