# SPDX-License-Identifier: Apache-2.0
"""Ranking metrics: areas under curves, and rank classification by the log-likelihoods of targets.

Shape letters: N examples, M distinct scores, G groups, C classes.

Source: T5 `auc`, `score_auc` and `rank_classification` in `t5/evaluation/metrics.py`; the areas are scikit-learn's
`roc_auc_score` and `average_precision_score`.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from t5x_lite.evaluation.metrics.correlation import predicted_numbers, target_numbers
from t5x_lite.evaluation.metrics.reference import Reference, TargetScore, grouped


def auc(predictions: Sequence[str], references: Sequence[Reference], threshold: str = "") -> dict[str, float]:
    """Areas under the ROC and precision-recall curves of predicted numbers: auc/roc and auc/pr, from 0 to 1.

    Targets are 1 for positive and 0 for negative or, with a `threshold`, positive if they reach it. auc/roc is nan if
    all targets are of one kind, auc/pr if none is positive.
    """
    is_positive_N = _is_positive("auc", references, threshold)
    return _areas("auc", is_positive_N, predicted_numbers(predictions), np.ones(len(references)))


def score_auc(scores: Sequence[TargetScore], references: Sequence[Reference], threshold: str = "") -> dict[str, float]:
    """Like `auc`, of the targets' log-likelihoods: score_auc/roc and score_auc/pr.

    An example is positive if its reference's `is_correct` says so or, without that field, by its targets.
    """
    if all(reference.is_correct is not None for reference in references):
        is_positive_N = np.array([bool(reference.is_correct) for reference in references])
    else:
        is_positive_N = _is_positive("score_auc", references, threshold)
    log_likelihood_N = np.array([score.log_likelihood for score in scores])
    return _areas("score_auc", is_positive_N, log_likelihood_N, np.ones(len(references)))


def rank_classification(
    scores: Sequence[TargetScore], references: Sequence[Reference], num_classes: str = ""
) -> dict[str, float]:
    """Metrics of the most probable targets among a group's examples, in percent.

    Of equals, a wrong one counts as chosen, so that a collapsed model is never right; in T5, the first one does.

    There is one example per choice, with its question's `group`; it is right if its reference's `is_correct` says so
    or, without that field, if its targets are among its `answers`. A question has the `weight` of the chosen example.

    Returns:
      rank_classification/accuracy. With `num_classes`, and one right choice per question, also rank_classification/f1,
      auc_roc and auc_pr of the second of two choices, or rank_classification/mean_f1 of three or more.

    Raises:
      ValueError: if an example has no group or no verdict, or not all choices of a question are evaluated, or they are
        not `num_classes`.
    """
    return _ranked("rank_classification", [score.log_likelihood for score in scores], references, num_classes)


def rank_classification_by_token(
    scores: Sequence[TargetScore], references: Sequence[Reference], num_classes: str = ""
) -> dict[str, float]:
    """`rank_classification` by log-likelihood per token: rank_classification_by_token/accuracy, and so on."""
    by_token = [score.log_likelihood / score.num_tokens for score in scores]
    return _ranked("rank_classification_by_token", by_token, references, num_classes)


def _ranked(name: str, values: Sequence[float], references: Sequence[Reference], num_classes: str) -> dict[str, float]:
    groups = [sorted(group, key=lambda i: references[i].number) for group in grouped(references)]
    _check_choices(name, [[references[i] for i in group] for group in groups], num_classes)
    is_right = [_is_right(reference) for reference in references]
    choices = [max(group, key=lambda i: (values[i], not is_right[i])) for group in groups]
    weight_G = np.array([references[choice].weight for choice in choices])
    is_hit_G = [is_right[choice] and not math.isnan(values[choice]) for choice in choices]
    results = {f"{name}/accuracy": float(100 * np.average(is_hit_G, weights=weight_G))}
    if not num_classes:
        return results
    index_GC = np.array(groups)
    is_right_GC = np.array(is_right)[index_GC]
    if (is_right_GC.sum(axis=1) != 1).any():  # several right choices have no single class
        return results
    value_GC = np.array(values, np.float32)[index_GC]
    is_chosen_GC = (index_GC == np.array(choices)[:, None]) & ~np.isnan(value_GC)
    weight_G = np.array([references[group[0]].weight for group in groups])
    more = _of_classes(is_right_GC, is_chosen_GC, value_GC, weight_G)
    return results | {f"{name}/{metric}": value for metric, value in more.items()}


def _of_classes(
    is_right_GC: np.ndarray, is_chosen_GC: np.ndarray, value_GC: np.ndarray, weight_G: np.ndarray
) -> dict[str, float]:
    hits_C = weight_G @ (is_right_GC & is_chosen_GC)
    sizes_C = weight_G @ is_right_GC + weight_G @ is_chosen_GC
    f1_C = 100 * 2 * hits_C / np.where(sizes_C > 0, sizes_C, 1)
    if value_GC.shape[1] > 2:
        return {"mean_f1": float(f1_C.mean())}
    exp_GC = np.exp(value_GC - value_GC.max(axis=1, keepdims=True))
    areas = _areas("auc", is_right_GC[:, 1], exp_GC[:, 1] / exp_GC.sum(axis=1), weight_G)
    return {"f1": float(f1_C[1]), "auc_roc": 100 * areas["auc/roc"], "auc_pr": 100 * areas["auc/pr"]}


def _check_choices(name: str, groups: Sequence[Sequence[Reference]], num_classes: str) -> None:
    choices = list(itertools.chain.from_iterable(groups))
    if not all(choice.group and (choice.answers or choice.is_correct is not None) for choice in choices):
        raise ValueError(
            f"task.metrics has {name}, which needs a group for each example, and whether it is right: make "
            "task.preprocess return one example per choice, with the same 'group', and 'is_correct' or 'answers'"
        )
    if any(group[0].group_size > len(group) for group in groups):
        raise ValueError(
            f"task.metrics has {name}, but only some choices of a question are evaluated: use an eval.num_batches that "
            "reads all examples"
        )
    sizes = sorted({len(group) for group in groups})
    if num_classes and sizes != [int(num_classes)]:
        raise ValueError(
            f"task.metrics has {name}:{num_classes}, but questions have {' or '.join(map(str, sizes))} choices: use "
            f"{name} alone"
        )


def _is_right(reference: Reference) -> bool:
    if reference.is_correct is not None:
        return bool(reference.is_correct)
    return reference.targets in reference.accepted


def _is_positive(name: str, references: Sequence[Reference], threshold: str) -> np.ndarray:
    target_N = target_numbers(name, references)
    if threshold:
        return target_N >= float(threshold)
    wrong = set(target_N) - {0.0, 1.0}
    if wrong:
        raise ValueError(
            f"task.metrics has {name}, which needs targets of 0 and 1, but one is {min(wrong):g}: use "
            f"{name}:THRESHOLD, the smallest positive target"
        )
    return target_N == 1


def _areas(name: str, is_positive_N: np.ndarray, score_N: np.ndarray, weight_N: np.ndarray) -> dict[str, float]:
    order_N = np.argsort(-score_N, kind="stable")
    is_positive_N, score_N, weight_N = is_positive_N[order_N], score_N[order_N], weight_N[order_N]
    last_M = np.append(np.flatnonzero(np.diff(score_N)), len(score_N) - 1)  # of each run of equal scores
    true_M = np.cumsum(weight_N * is_positive_N)[last_M]
    false_M = np.cumsum(weight_N * ~is_positive_N)[last_M]
    roc = pr = math.nan
    if true_M[-1] > 0 and not np.isnan(score_N).any():
        pr = float(np.sum(np.diff(true_M, prepend=0) * true_M / np.maximum(true_M + false_M, 1e-300)) / true_M[-1])
        if false_M[-1] > 0:
            heights = (true_M + np.concatenate([[0.0], true_M[:-1]])) / 2  # trapezoids
            roc = float(np.sum(np.diff(false_M, prepend=0) * heights) / (true_M[-1] * false_M[-1]))
    return {f"{name}/roc": roc, f"{name}/pr": pr}
