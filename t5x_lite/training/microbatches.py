# SPDX-License-Identifier: Apache-2.0
"""Gradients accumulated over the microbatches of a step.

Shape letters: M microbatches.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp


def accumulated(
    microbatch_gradients: Callable[..., Any], batch: Mapping[str, jax.Array], M: int, dropout_key: jax.Array | None
) -> Any:
    """Returns the sum of `microbatch_gradients(microbatch, key)` over the M microbatches of a batch."""
    # Microbatch m takes rows m, m + M, ..., some from every device's shard, so that no row moves between devices.
    split = jax.tree.map(lambda rows: rows.reshape(-1, M, *rows.shape[1:]).swapaxes(0, 1), dict(batch))
    keys = None if dropout_key is None else jax.random.split(dropout_key, M)

    def accumulate(total, microbatch_and_key):
        return jax.tree.map(jnp.add, total, microbatch_gradients(*microbatch_and_key)), None

    first = jax.tree.map(lambda rows: rows[0], (split, keys))
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(microbatch_gradients, *first))
    return jax.lax.scan(accumulate, zeros, (split, keys))[0]
