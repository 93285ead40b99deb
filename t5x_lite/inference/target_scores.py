# SPDX-License-Identifier: Apache-2.0
"""How probable a model finds given targets.

Shape letters: B batch, T target tokens, D model, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from t5x_lite.model.kernels.cross_entropy import token_scores


@jax.jit
def target_log_probs(model: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Returns the log-probability of each target given those before it, [B, T]; 0 where a target has no weight.

    Args:
      model: of any architecture; called without dropout.
      batch: the features that its converter makes, as for training.
    """
    hidden_BTD, kernel_DV, targets_BT, weights_BT = model.predict(batch)
    nats_BT = token_scores(hidden_BTD, kernel_DV, targets_BT).nats_BT
    return jnp.where(weights_BT > 0, -nats_BT, 0.0)
