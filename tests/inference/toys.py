"""Models small enough to know by heart: logits that depend on nothing, or on the last token alone."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.params import make_decode_spec, make_sampling_params


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


def params_and_spec(configs, *, num_steps, eos_id=1, forced=None, streams=None, scores=False, model=None):
    """SamplingParams and spec of a batch."""
    configs = [GenerationConfig(max_new_tokens=num_steps)] * configs if isinstance(configs, int) else configs
    eos_id = model.eos_id if model else eos_id
    params = make_sampling_params(configs, streams or range(len(configs)), eos_id=eos_id, forced=forced)
    return params, make_decode_spec(configs, vocab_size=None, num_steps=num_steps, scores=scores, model=model)


def exact_probabilities(logits_V, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The distribution that is drawn from, by sorting, in double precision."""
    logits_V = logits_V.astype(np.float64) / temperature
    order_V = np.argsort(-logits_V)
    shares_V = np.exp(logits_V[order_V])
    if top_k:
        shares_V[top_k:] = 0
    shares_V /= shares_V.sum()
    shares_V[1 + np.searchsorted(np.cumsum(shares_V), top_p) :] = 0
    shares_V[shares_V < min_p * shares_V[0]] = 0
    probabilities_V = np.zeros(len(logits_V))
    probabilities_V[order_V] = shares_V / shares_V.sum()
    return probabilities_V


def surprise(counts_V, probabilities_V):
    """The chi-square statistic, as a multiple of what it exceeds once in a thousand times (Wilson and Hilferty)."""
    expected_V = probabilities_V[probabilities_V > 0] * counts_V.sum()
    assert expected_V.min() > 5  # else it has another distribution
    assert not counts_V[probabilities_V == 0].any()
    freedom = len(expected_V) - 1
    critical = freedom * (1 - 2 / (9 * freedom) + 3.0902 * np.sqrt(2 / (9 * freedom))) ** 3
    return ((counts_V[probabilities_V > 0] - expected_V) ** 2 / expected_V).sum() / critical
