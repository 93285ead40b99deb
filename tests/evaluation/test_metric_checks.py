"""Tests t5x_lite/evaluation/metric_checks.py"""

import pytest

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.evaluation.metric_checks import check_metrics

PAIRS = {"source": "a.csv", "inputs": "{a}", "targets": "{b}"}


def check(**task):
    check_metrics(resolve_tasks(TaskConfig(**task)))


def test_known_metrics_of_pairs_and_of_prepared_text_are_accepted():
    check(**PAIRS, metrics=("accuracy", "f1:yes"))
    check(prepared="made", metrics=("accuracy",))


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match=r"task\.metrics has 'acuracy', which is not a metric"):
        check(**PAIRS, metrics=("acuracy",))


def test_metrics_need_pairs():
    tasks = {"one": TaskConfig(source="a.txt", metrics=("accuracy",))}
    with pytest.raises(ValueError, match=r"^task\.metrics of one is accuracy, but the task is plain text"):
        check(mixture=MixtureConfig(tasks=tasks))
