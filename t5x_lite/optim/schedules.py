# SPDX-License-Identifier: Apache-2.0
"""Learning rate schedules; the first update is step 0."""

import jax
import jax.numpy as jnp
import optax

from t5x_lite.config import OptimizerConfig
from t5x_lite.config.defaults import filled_optimizer
from t5x_lite.config.run import SCHEDULES


def make_schedule(cfg: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Returns the learning rate, a float32 scalar, as a function of the step, an integer or traced array.

    Args:
      cfg: optimizer options; `learning_rate` is the peak; null fields have the defaults of pretraining.
      num_steps: number of updates in the run, after which linear and cosine stay at `final_fraction` of the peak.

    Raises:
      ValueError: if the warmup leaves no steps for a linear or cosine decay.

    Source: rsqrt is T5X's `constant * rsqrt_decay`: 1 / sqrt(max(step, 10_000)) if learning_rate is 0.01.
    """
    cfg = filled_optimizer(cfg)
    if cfg.schedule not in SCHEDULES:
        from t5x_lite.optim.factors import product_of_factors

        return product_of_factors(cfg)
    if cfg.schedule in ("linear", "cosine") and cfg.warmup_steps >= num_steps:
        raise ValueError(
            f"optimizer.warmup_steps is {cfg.warmup_steps} and train.num_steps is {num_steps}: the {cfg.schedule} "
            "schedule decays between the two: use fewer warmup steps or more steps"
        )

    def rsqrt(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        return cfg.learning_rate * jnp.sqrt(cfg.warmup_steps / jnp.maximum(step, cfg.warmup_steps))

    def warmup_then_decay(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        warmup = jnp.minimum(step / cfg.warmup_steps, 1) if cfg.warmup_steps else 1
        progress = jnp.clip((step - cfg.warmup_steps) / max(num_steps - cfg.warmup_steps, 1), 0, 1)
        left = {
            "constant": jnp.ones_like(progress),
            "linear": 1 - progress,
            "cosine": (1 + jnp.cos(jnp.pi * progress)) / 2,
        }[cfg.schedule]
        # Exactly the peak if `left` is 1, and exactly final_fraction of it if `left` is 0.
        return cfg.learning_rate * warmup * (left + cfg.final_fraction * (1 - left))

    return rsqrt if cfg.schedule == "rsqrt" else warmup_then_decay
