"""Tests t5x_lite/config/from_plain.py"""

import pytest
import yaml

from t5x_lite.config import MixtureConfig, OptimizerConfig, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.config.from_plain import from_plain
from t5x_lite.config.plain import as_plain

QUESTIONS = TaskConfig(source=("a.jsonl", "b.csv"), inputs="{q}", targets="{a}", metrics=("accuracy",))
TEXT = TaskConfig(source="c.txt")
RUNS = {
    "default": RunConfig(run_dir="run"),
    "mixture": RunConfig(
        run_dir="run",
        task=TaskConfig(
            mixture=MixtureConfig(tasks={"one": QUESTIONS, "two": TEXT}, rates={"one": 1, "two": 2}),
            tokenizer=TokenizerConfig(kind="bytes"),
        ),
        train=TrainConfig(remat=("query", "key"), targets_length=7),
        optimizer=OptimizerConfig(factored={"embedding": "none", ".*": "stacked"}),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_config_comes_back_from_yaml_unchanged(name):
    assert from_plain(RunConfig, yaml.safe_load(yaml.safe_dump(as_plain(RUNS[name])))) == RUNS[name]


def test_fields_that_an_older_version_did_not_record_have_their_defaults():
    assert from_plain(RunConfig, {"run_dir": "run", "train": {"num_steps": 3}}).train == TrainConfig(num_steps=3)


def test_an_unknown_field_is_named_with_its_section():
    with pytest.raises(ValueError, match=r"train\.nim_steps is not a field: use the t5x-lite that wrote it"):
        from_plain(RunConfig, {"run_dir": "run", "train": {"nim_steps": 3}})


def test_an_error_in_a_task_of_a_mixture_names_it_once():
    deep = {"mixture": {"tasks": {"a": {"mixture": {"tasks": {"b": {"source": "x", "eval_percent": 200.0}}}}}}}
    where = r"task\.mixture\.tasks\.a\.mixture\.tasks\.b"
    with pytest.raises(ValueError, match=rf"^{where}: task\.eval_percent is 200\.0"):
        from_plain(RunConfig, {"run_dir": "r", "task": deep})
