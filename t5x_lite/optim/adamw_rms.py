# SPDX-License-Identifier: Apache-2.0
"""AdamW with each step relative to its parameter's size, as Adafactor's is; plain AdamW diverges on T5."""

from typing import Any

import optax

from t5x_lite.optim.adafactor import scale_by_parameter_rms

EPSILON = 1e-6  # nanoT5's; Adam's own is 1e-8


def adamw_rms(
    learning_rate: optax.Schedule,
    axes: Any,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    weight_decay: float = 0.0,
    momentum_dtype: str = "float32",
) -> optax.GradientTransformation:
    """AdamW whose update, but not its weight decay, is times max(RMS of the parameter's layer, 1e-3).

    Args:
      learning_rate: step -> RMS of an update, in units of its parameter's RMS.
      axes: a pytree like the parameters, with a tuple of axis names (one a dimension) for each.
      beta1: decay of the first moment.
      beta2: decay of the second moment.
      weight_decay: share of each parameter removed a step, times the learning rate.
      momentum_dtype: what the first moment is kept in.

    Source: AdamWScale of nanoT5, https://arxiv.org/abs/2309.02373.
    """
    return optax.chain(
        optax.scale_by_adam(b1=beta1, b2=beta2, eps=EPSILON, mu_dtype=momentum_dtype),
        scale_by_parameter_rms(axes),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
