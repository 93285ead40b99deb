# SPDX-License-Identifier: Apache-2.0
"""From an optimizer's config to its transformation, and from its state to axis names."""

from typing import Any

import jax
import optax

from t5x_lite.config import OptimizerConfig
from t5x_lite.optim.adafactor import FactoredRmsState, adafactor, factored_rms_axes
from t5x_lite.optim.adamw_rms import adamw_rms
from t5x_lite.optim.schedules import make_schedule

DEFAULT_ADAM_BETA1 = 0.9


def make_optimizer(cfg: OptimizerConfig, num_steps: int, axes: Any) -> optax.GradientTransformation:
    """Returns clipping, the optimizer, weight decay and the learning rate as one transformation.

    Args:
      cfg: the optimizer's config.
      num_steps: updates in the whole run, for the schedule.
      axes: a pytree like the parameters, with a tuple of axis names (one a dimension) for each.

    Raises:
      ValueError: if the schedule's warmup does not end within `num_steps`.
    """
    learning_rate = make_schedule(cfg, num_steps)
    beta1 = DEFAULT_ADAM_BETA1 if cfg.beta1 is None else cfg.beta1
    decay, dtype = cfg.weight_decay, cfg.momentum_dtype
    if cfg.name == "adafactor":
        core = adafactor(learning_rate, axes, beta1=cfg.beta1, weight_decay=decay, momentum_dtype=dtype)
    elif cfg.name == "adamw_rms":
        core = adamw_rms(learning_rate, axes, beta1=beta1, beta2=cfg.beta2, weight_decay=decay, momentum_dtype=dtype)
    else:
        core = optax.adamw(learning_rate, b1=beta1, b2=cfg.beta2, weight_decay=decay, mu_dtype=dtype)
    return core if cfg.clip_norm is None else optax.chain(optax.clip_by_global_norm(cfg.clip_norm), core)


def state_axes(state: optax.OptState, params: Any, axes: Any) -> Any:
    """Returns the optimizer state's pytree with, for each array, a tuple of axis names, one a dimension.

    A moment has its parameter's names, v_row and v_col those of the dimensions they keep; None is a dimension without
    a name, of placeholders for what is not used.

    Args:
      state: of a transformation made here; its shapes do, as from `jax.eval_shape(tx.init, params)`.
      params: the parameters, or their shapes.
      axes: a pytree like the parameters, with a tuple of axis names (one a dimension) for each.
    """
    structure, shapes = jax.tree.structure(params), [leaf.shape for leaf in jax.tree.leaves(params)]

    def is_moment(node: Any) -> bool:
        return jax.tree.structure(node) == structure and [leaf.shape for leaf in jax.tree.leaves(node)] == shapes

    def names_of(node: Any) -> Any:
        if isinstance(node, FactoredRmsState):
            return factored_rms_axes(node, params, axes)
        return jax.tree.map(lambda _, names: names, node, axes) if is_moment(node) else (None,) * node.ndim

    return jax.tree.map(names_of, state, is_leaf=lambda node: isinstance(node, FactoredRmsState) or is_moment(node))
