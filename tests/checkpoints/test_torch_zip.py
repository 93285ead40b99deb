"""Tests t5x_lite/checkpoints/torch_zip.py"""

import pytest

from t5x_lite.checkpoints.weight_files import open_weights


def test_pickled_weights_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match=r"pytorch_model.bin is a pickle, .*save_pretrained"):
        open_weights(tmp_path)
