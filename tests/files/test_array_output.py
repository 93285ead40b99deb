"""Tests t5x_lite/files/array_output.py"""

import numpy as np
import pytest

from t5x_lite.files.array_output import growing_array


@pytest.mark.parametrize("num_rows", [0, 1, 1234])
def test_rows_become_an_array_that_numpy_reads(tmp_path, num_rows):
    rows = np.random.default_rng(0).normal(size=(num_rows, 5)).astype(np.float32)
    with growing_array(tmp_path / "a.npy", 5) as append:
        for row in rows:
            append(row)
        assert not (tmp_path / "a.npy").exists()
    found = np.load(tmp_path / "a.npy")
    assert (found.dtype, found.shape) == (np.float32, (num_rows, 5))
    np.testing.assert_array_equal(found, rows)


def test_a_failure_leaves_the_old_file(tmp_path):
    (tmp_path / "a.npy").write_text("old")
    with pytest.raises(AssertionError), growing_array(tmp_path / "a.npy", 2) as append:
        append(np.zeros(3, np.float32))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
