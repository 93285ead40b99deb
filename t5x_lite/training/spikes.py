# SPDX-License-Identifier: Apache-2.0
"""The spike guard: finds steps whose gradient norm is far above the median of those before.

Shape letters: W window.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

W, MIN_NORMS = 100, 20  # a median of fewer norms would judge nothing: the first steps have large gradients


class Spikes(NamedTuple):
    """What a checkpoint stores of the guard, so that a resumed run skips the same steps."""

    norms_W: jax.Array  # the last W finite norms, in a ring; spikes too, so that a new level becomes the median
    num_norms: jax.Array  # finite norms so far
    num_skipped: jax.Array  # skipped updates so far


def no_spikes() -> Spikes:
    """Returns the state before the first step."""
    return Spikes(jnp.zeros(W, jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def watch(spikes: Spikes, grad_norm: jax.Array, is_finite: jax.Array, factor: float) -> tuple[jax.Array, Spikes]:
    """Returns whether a step is a spike, and the next state.

    A spike is a finite norm above `factor` times the median of the norms before it, of which there are `MIN_NORMS`.
    """
    norms_W = spikes.norms_W
    median = jnp.nanmedian(jnp.where(jnp.arange(W) < spikes.num_norms, norms_W, jnp.nan))
    is_spike = is_finite & (spikes.num_norms >= MIN_NORMS) & (grad_norm > factor * median)
    norms_W = jnp.where(is_finite, norms_W.at[spikes.num_norms % W].set(grad_norm), norms_W)
    return is_spike, Spikes(norms_W, spikes.num_norms + is_finite, spikes.num_skipped + is_spike)
