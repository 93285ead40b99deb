"""Tests t5x_lite/data/objectives/base.py"""

import pytest

from t5x_lite.data.objectives.base import fit_targets


def test_the_targets_length_is_the_configured_one_if_the_targets_fit():
    assert fit_targets(512, None, 37) == 37
    assert fit_targets(512, 37, 37) == 37
    assert fit_targets(512, 40, 37) == 40
    with pytest.raises(ValueError, match=r"targets_length is 36, but train.inputs_length 512 yields 37 .*leave it out"):
        fit_targets(512, 36, 37)
