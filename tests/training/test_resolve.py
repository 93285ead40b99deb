"""Tests t5x_lite/training/resolve.py; tests/training/test_starting_point.py has pretrained models"""

import dataclasses

import pytest
import yaml

from t5x_lite.config import ModelOptions, TaskConfig
from t5x_lite.training.resolve import resolve_run
from tests import runs


def test_without_a_pretrained_model_only_the_task_is_resolved(tmp_path):
    cfg = runs.config(tmp_path)
    assert resolve_run(cfg).config == dataclasses.replace(cfg, revision=2)
    assert resolve_run(cfg).examples.keep_leftover
    assert resolve_run(cfg).pretrained is None
    cola = resolve_run(dataclasses.replace(cfg, task=TaskConfig(base="t5x_lite.tasks.glue:COLA")))
    assert cola.config.task == cola.tasks.whole == cola.examples.tasks.each[""]
    assert cola.config.task.base is None


@pytest.mark.parametrize(("recorded", "revision"), [({}, 1), ({"revision": 1}, 1), ({"revision": 2}, 2)])
def test_a_run_keeps_the_revision_it_was_started_with_1_if_none_was_recorded(tmp_path, recorded, revision):
    cfg = runs.config(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"seed": 0} | recorded))
    run = resolve_run(cfg)
    assert (run.config.revision, run.examples.keep_leftover) == (revision, revision == 2)
    for given in (1, 2):
        assert resolve_run(dataclasses.replace(cfg, revision=given)).config.revision == given  # `check` compares it


def test_a_classifiers_labels_are_needed_before_any_text_is_read(tmp_path):
    task = TaskConfig(source="nowhere.csv", inputs="{q}", targets="{a}")
    model = ModelOptions(architecture="sequence_classifier")
    cfg = dataclasses.replace(runs.config(tmp_path), task=task, model=model)
    with pytest.raises(ValueError, match=r"task.labels is null, but a classifier needs labels"):
        resolve_run(cfg)
    labels = dataclasses.replace(task, labels=("no", "yes"))
    assert resolve_run(dataclasses.replace(cfg, task=labels)).examples.architecture.labels == ("no", "yes")
