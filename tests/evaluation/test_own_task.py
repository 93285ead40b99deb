"""Tests t5x_lite/evaluation/own_task.py"""

import dataclasses

import pytest

from t5x_lite.checkpoints.load import load
from t5x_lite.config import RunConfig, TaskConfig
from t5x_lite.evaluation.api import evaluate
from t5x_lite.evaluation.own_task import own_config
from tests.held_out import config, make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("own"))


def test_a_run_is_evaluated_on_its_own_task_by_default(folder):
    assert evaluate(folder / "run") == evaluate(folder / "run", config(folder))


def test_a_config_without_a_task_does_not_measure_the_default_text(folder):
    run = folder / "run"
    with pytest.raises(ValueError, match=r"leave config out to evaluate the run in .* on its own task, or set config"):
        evaluate(run, RunConfig(run_dir=str(run)))
    with pytest.raises(ValueError, match="leave config out to evaluate the run"):
        evaluate(load(run), RunConfig(run_dir=str(run)))


@pytest.mark.parametrize("given", [None, RunConfig(run_dir="nowhere")])
def test_a_model_that_is_no_run_has_to_be_given_a_task(folder, given):
    with pytest.raises(ValueError, match="no task"):
        evaluate(load(folder / "run"), given)


def test_a_config_without_a_task_suits_a_run_trained_without_one(tmp_path):
    cfg = RunConfig(run_dir=str(tmp_path))
    (tmp_path / "config.yaml").write_text("run_dir: there\ntask: {source: docstrings, packages: null}\n")
    assert own_config(tmp_path, cfg) is cfg
    asked = dataclasses.replace(cfg, task=TaskConfig(packages=("optax",)))
    assert asked.task is not RunConfig.task
