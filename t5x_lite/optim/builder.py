# SPDX-License-Identifier: Apache-2.0
"""Builds optimizers from configs, and the axis names of their states.

To add an optimizer, write its transformation in a new module, add an entry to OPTIMIZERS, and add its name to
`OptimizerConfig.name`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from t5x_lite.config import OptimizerConfig
from t5x_lite.optim.adafactor import FactoredRmsState, Rules, adafactor, factored_rms_axes
from t5x_lite.optim.schedules import make_schedule

DEFAULT_ADAM_BETA1 = 0.9


# By `optimizer.name`: functions of the config, the learning rate schedule and the parameters' axis names.
OPTIMIZERS: Mapping[str, Callable[[OptimizerConfig, optax.Schedule, Any], optax.GradientTransformation]] = {
    "adafactor": lambda cfg, rate, axes: adafactor(
        rate,
        axes,
        beta1=cfg.beta1,
        weight_decay=cfg.weight_decay,
        rules=Rules(
            "stacked" if cfg.factored is None else cfg.factored,
            multiply_by_parameter_scale=cfg.multiply_by_parameter_scale,
        ),
        momentum_dtype=cfg.momentum_dtype,
    ),
    "adamw_rms": lambda cfg, rate, axes: _adamw_rms(cfg, rate, axes),
    "adamw": lambda cfg, rate, axes: optax.adamw(
        rate, b1=_adam_beta1(cfg), b2=cfg.beta2, weight_decay=cfg.weight_decay, mu_dtype=cfg.momentum_dtype
    ),
}


def _adamw_rms(cfg: OptimizerConfig, rate: optax.Schedule, axes: Any) -> optax.GradientTransformation:
    from t5x_lite.optim.adamw_rms import adamw_rms

    options: dict[str, Any] = {"weight_decay": cfg.weight_decay, "momentum_dtype": cfg.momentum_dtype}
    return adamw_rms(rate, axes, beta1=_adam_beta1(cfg), beta2=cfg.beta2, **options)


def _adam_beta1(cfg: OptimizerConfig) -> float:
    return DEFAULT_ADAM_BETA1 if cfg.beta1 is None else cfg.beta1


def make_optimizer(cfg: OptimizerConfig, num_steps: int, axes: Any) -> optax.GradientTransformation:
    """Returns gradient clipping and the optimizer, with its learning rate schedule, as one transformation.

    Args:
      cfg: optimizer options.
      num_steps: number of updates in the run, for the schedule.
      axes: a pytree like the parameters, holding their axis names.

    Raises:
      ValueError: if the warmup leaves no steps for a linear or cosine decay.
    """
    optimizer = OPTIMIZERS[cfg.name](cfg, make_schedule(cfg, num_steps), axes)
    return optimizer if cfg.clip_norm is None else optax.chain(optax.clip_by_global_norm(cfg.clip_norm), optimizer)


def state_axes(state: optax.OptState, params: Any, axes: Any) -> Any:
    """Returns the pytree of an optimizer's state with the axis names of each array.

    Moments get their parameters' names, v_row and v_col those of the dimensions they keep. Other arrays get None, so
    that they are replicated.

    Args:
      state: the optimizer's state, or its shapes from `jax.eval_shape(tx.init, params)`.
      params: the parameters, or their shapes.
      axes: a pytree like the parameters, holding their axis names.
    """
    structure, shapes = jax.tree.structure(params), [leaf.shape for leaf in jax.tree.leaves(params)]

    def is_moment(node: Any) -> bool:
        return jax.tree.structure(node) == structure and [leaf.shape for leaf in jax.tree.leaves(node)] == shapes

    def names_of(node: Any) -> Any:
        if isinstance(node, FactoredRmsState):
            return factored_rms_axes(node, params, axes)
        return jax.tree.map(lambda _, names: names, node, axes) if is_moment(node) else (None,) * node.ndim

    return jax.tree.map(names_of, state, is_leaf=lambda node: isinstance(node, FactoredRmsState) or is_moment(node))
