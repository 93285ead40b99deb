# SPDX-License-Identifier: Apache-2.0
"""T5X's learning rate schedules: products of named factors, such as "constant * linear_warmup * rsqrt_decay".

Source: T5X `create_learning_rate_scheduler` in `utils.py`, whose `base_learning_rate` is `learning_rate` here.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from t5x_lite.config import OptimizerConfig
from t5x_lite.config.factors import factors_of


def _linear_decay(cfg: OptimizerConfig, step: jax.Array) -> jax.Array:
    down = 1.0 + cfg.decay_factor * (cfg.warmup_steps - step)  # decay_factor is the slope per step
    return cfg.learning_rate * jnp.minimum(step / cfg.warmup_steps, down)


def _cosine_decay(cfg: OptimizerConfig, step: jax.Array) -> jax.Array:
    progress = jnp.maximum(0.0, (step - cfg.warmup_steps) / cfg.steps_per_cycle)
    return jnp.maximum(0.0, 0.5 * (1.0 + jnp.cos(jnp.pi * (progress % 1.0))))


# Functions of the config and the step, an int32 array of at least 0.
FACTORS: Mapping[str, Callable[[OptimizerConfig, jax.Array], jax.typing.ArrayLike]] = {
    "constant": lambda cfg, step: cfg.learning_rate,
    "linear_warmup": lambda cfg, step: jnp.minimum(1.0, step / cfg.warmup_steps),
    "linear_decay": _linear_decay,
    "rsqrt_decay": lambda cfg, step: 1 / jnp.sqrt(jnp.maximum(step, cfg.warmup_steps)),
    "rsqrt_normalized_decay": lambda cfg, step: jnp.sqrt(cfg.warmup_steps / jnp.maximum(step, cfg.warmup_steps)),
    "decay_every": lambda cfg, step: cfg.decay_factor ** (step // cfg.steps_per_decay),
    "cosine_decay": _cosine_decay,
}


def product_of_factors(cfg: OptimizerConfig) -> optax.Schedule:
    """Returns the product of the factors in `cfg.schedule`, at least `cfg.min_learning_rate`."""
    factors = [FACTORS[name] for name in factors_of(cfg.schedule)]

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.maximum(jnp.asarray(step, jnp.int32) - cfg.step_offset, 0)
        product = jnp.ones((), jnp.float32)
        for factor in factors:
            product = product * factor(cfg, step)
        return jnp.maximum(product, cfg.min_learning_rate)

    return rate
