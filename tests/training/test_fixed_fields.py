"""Tests t5x_lite/training/fixed_fields.py"""

import pathlib

import pytest

from t5x_lite.training.fixed_fields import check_same

BEGAN = {"seed": 3, "task": {"objective": "ul2", "source": ["a", "b"]}, "train": {"num_steps": 5}}


def test_other_fields_may_change():
    check_same(BEGAN, BEGAN | {"train": {"num_steps": 7}}, pathlib.Path("run"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seed": 4}, r"^seed is 4, but the run in run was started with 3: use that value, or another run_dir"),
        ({"task": BEGAN["task"] | {"source": ["a"]}}, r"^task.source is \['a'\], but the run in run was started with"),
        ({"optimizer": {"name": "adamw"}}, r"^optimizer.name is 'adamw', but the run in run was started with None"),
    ],
)
def test_a_field_that_decides_what_is_stored_may_not(asked, message):
    with pytest.raises(ValueError, match=message):
        check_same(BEGAN, BEGAN | asked, pathlib.Path("run"))
