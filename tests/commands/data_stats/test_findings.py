"""Tests t5x_lite/commands/data_stats/findings.py"""

import dataclasses
import inspect
import re

import pytest

from t5x_lite.commands.data_stats import findings


@pytest.mark.parametrize("found", [findings.Side, findings.Task, findings.Statistics], ids=lambda found: found.__name__)
def test_every_name_in_the_json_is_explained(found):
    explained = re.findall(r"^  (\w+): ", inspect.getdoc(found), flags=re.MULTILINE)
    assert explained == [field.name for field in dataclasses.fields(found)]
