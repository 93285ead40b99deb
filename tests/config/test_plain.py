"""Tests t5x_lite/config/plain.py"""

import json

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.config.plain import as_plain


def test_a_config_is_as_json_has_it():
    inner = TaskConfig(source=("a.txt", "b.txt"), inputs="{q}", targets="{a}", choices={"0": "no"})
    plain = as_plain(TaskConfig(mixture=MixtureConfig(tasks={"a": inner})))
    assert plain["mixture"]["tasks"]["a"]["source"] == ["a.txt", "b.txt"]
    assert json.loads(json.dumps(plain)) == plain
