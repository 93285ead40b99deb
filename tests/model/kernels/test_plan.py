"""Tests t5x_lite/model/kernels/plan.py"""

import dataclasses

import pytest

from t5x_lite.model.kernels import gpu, tpu
from t5x_lite.model.kernels.plan import Plan


@pytest.mark.parametrize("kernel", [tpu, gpu])
def test_the_kernels_of_all_platforms_are_called_alike(kernel):
    names = [[field.name for field in dataclasses.fields(plan)] for plan in (kernel.Plan, Plan)]
    assert names[0] == names[1]
