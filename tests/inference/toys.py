"""Models small enough to know by heart: logits that depend on nothing, or on the last token alone."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from t5x_lite.config import GenerationConfig
from t5x_lite.inference.params import make_controls, make_plan


class Steps(NamedTuple):
    """A cache that counts."""

    count: jnp.ndarray

    def reorder(self, parents_BK):
        del parents_BK
        return self


NO_STEPS = Steps(jnp.zeros((), jnp.int32))


def constant(logits_BV):
    """A step whose logits are the same whatever came before."""

    def step(tokens_BK, cache):
        B, K = tokens_BK.shape
        logits_BKV = jnp.broadcast_to(jnp.asarray(logits_BV, jnp.float32)[:, None], (B, K, np.shape(logits_BV)[-1]))
        return logits_BKV, Steps(cache.count + 1)

    return step


def told(configs, *, num_steps, eos_id=1, forced=None, streams=None, scores=False):
    """Controls and plan of a batch."""
    configs = [GenerationConfig(max_new_tokens=num_steps)] * configs if isinstance(configs, int) else configs
    controls = make_controls(configs, streams or range(len(configs)), eos_id=eos_id, forced=forced)
    return controls, make_plan(configs, vocab_size=None, num_steps=num_steps, scores=scores)
