"""Tests t5x_lite/training/microbatches.py; test_step.py compares whole steps"""

import jax.numpy as jnp
import numpy as np

from t5x_lite.training.microbatches import accumulated


def test_microbatch_m_has_each_mth_row_from_the_mth_on():
    rows_BT = np.arange(12 * 5).reshape(12, 5)
    seen_MBT = np.stack([rows_BT[m::3] for m in range(3)])

    def weighted(microbatch, key):
        assert key is None
        return jnp.prod(jnp.sum(microbatch["x"], 1).astype(jnp.float32) / 100)  # which tells the microbatches apart

    total = accumulated(weighted, {"x": jnp.asarray(rows_BT)}, 3, None)
    np.testing.assert_allclose(total, np.prod(seen_MBT.sum(2) / 100, 1).sum(), rtol=1e-5)
