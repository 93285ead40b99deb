"""Tests t5x_lite/evaluation/metric_checks.py"""

import pytest

from t5x_lite.config import EvalConfig, MixtureConfig, RunConfig, TaskConfig, TrainConfig
from t5x_lite.data.corpus.first_records import HeldOut
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.evaluation.api import evaluate
from t5x_lite.evaluation.metric_checks import check_held_out, check_metrics
from tests.held_out import config, make_run, pairs

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


def question(name, *words):
    return [{"targets": word, "group": name, "is_correct": word == "yes"} for word in words]


QUESTIONS = [*question("a", "yes", "no"), *question("b", "yes", "no"), *question("c", "yes", "no")]


def held_out(metric, references, *, is_whole=True, num_batches=3):
    cfg = RunConfig(run_dir="r", train=TrainConfig(batch_size=2), eval=EvalConfig(num_batches=num_batches))
    task = TaskConfig(**PAIRS, metrics=(metric,))
    check_held_out(task, HeldOut(references, is_whole), cfg)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("rank_classification:2", "rank_classification, which needs a group for each example"),
        ("group_mean:pearson", "pearson, which needs targets that are finite numbers, but one is 'yes'"),
        ("wsc_accuracy", "wsc_accuracy, which needs an 'is_correct'"),
    ],
)
def test_held_out_pairs_that_a_metric_cannot_use_are_refused(metric, problem, is_whole):
    with pytest.raises(ValueError, match=rf"^task\.metrics has {problem}"):
        held_out(metric, [{"targets": "yes"}, {"targets": "no"}], is_whole=is_whole)


def test_questions_of_which_only_some_choices_are_evaluated_are_refused():
    held_out("rank_classification:2", QUESTIONS)
    with pytest.raises(ValueError, match=r"use an eval\.num_batches that reads all examples"):
        held_out("rank_classification:2", QUESTIONS, num_batches=2)


def test_the_first_questions_of_many_may_lack_choices():
    held_out("rank_classification:2", QUESTIONS[:5], is_whole=False)


def test_metrics_of_any_pairs_accept_them():
    held_out("accuracy", [{"targets": "yes"}])


def test_pairs_that_are_prepared_are_checked_before_the_model_predicts(tmp_path, monkeypatch):
    folder = make_run(tmp_path)
    monkeypatch.setattr("t5x_lite.evaluation.api.measure", None)
    with pytest.raises(ValueError, match=r"needs a group for each example"):
        evaluate(folder / "run", config(folder, pairs(folder, metrics=("rank_classification",))))
