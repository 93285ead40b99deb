"""Tests t5x_lite/config/plain.py"""

import json

from t5x_lite.config import EvalConfig, MixtureConfig, TaskConfig
from t5x_lite.config.plain import as_plain, pick


def test_a_config_is_as_json_has_it():
    inner = TaskConfig(source=("a.txt", "b.txt"), inputs="{q}", targets="{a}", choices={"0": "no"})
    plain = as_plain(TaskConfig(mixture=MixtureConfig(tasks={"a": inner})))
    assert plain["mixture"]["tasks"]["a"]["source"] == ["a.txt", "b.txt"]
    assert json.loads(json.dumps(plain)) == plain


def test_a_config_takes_its_own_fields_out_of_all_options():
    assert pick(EvalConfig, {"every_steps": 7, "num_batches": 3, "checkpoint": "run"}) == EvalConfig(
        every_steps=7, num_batches=3
    )
