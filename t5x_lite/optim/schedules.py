# SPDX-License-Identifier: Apache-2.0
"""The learning rate as a function of the step; the first update is step 0."""

import jax
import jax.numpy as jnp
import optax

from t5x_lite.config import OptimizerConfig


def make_schedule(cfg: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Returns step (an integer, traced or not) -> learning rate (float32 scalar).

    Args:
      cfg: its schedule, learning_rate (the peak), warmup_steps and final_fraction are read.
      num_steps: updates in the whole run, where linear and cosine reach final_fraction of the peak, and stay there.

    Raises:
      ValueError: if the warmup leaves linear or cosine no step to decay over.

    Source: rsqrt is T5X's `constant * rsqrt_decay`, 1 / sqrt(max(step, 10_000)) where learning_rate is 0.01.
    """
    if cfg.schedule in ("linear", "cosine") and cfg.warmup_steps >= num_steps:
        raise ValueError(
            f"optimizer.warmup_steps is {cfg.warmup_steps} and train.num_steps is {num_steps}: the {cfg.schedule} "
            "schedule decays between the two; use fewer warmup steps or more steps"
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
        # This form is exactly the peak where `left` is 1, and exactly final_fraction of it where `left` is 0.
        return cfg.learning_rate * warmup * (left + cfg.final_fraction * (1 - left))

    return rsqrt if cfg.schedule == "rsqrt" else warmup_then_decay
