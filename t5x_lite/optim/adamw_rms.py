# SPDX-License-Identifier: Apache-2.0
"""AdamW with updates scaled by the parameter's RMS, as in Adafactor, because plain AdamW diverges on T5."""

from typing import Any

import optax

from t5x_lite.optim.adafactor import scale_by_parameter_rms

EPSILON = 1e-6  # nanoT5's; Adam's default is 1e-8


def adamw_rms(
    learning_rate: optax.Schedule,
    axes: Any,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    weight_decay: float = 0.0,
    momentum_dtype: str = "float32",
) -> optax.GradientTransformation:
    """Returns AdamW whose updates, but not weight decay, are multiplied by max(RMS of the layer's parameters, 1e-3).

    Args:
      learning_rate: schedule of the RMS of updates, relative to the RMS of their parameters.
      axes: a pytree like the parameters, holding their axis names.
      beta1: decay rate of the first moment.
      beta2: decay rate of the second moment.
      weight_decay: fraction of each parameter removed per step, times the learning rate.
      momentum_dtype: dtype of the first moment.

    Source: AdamWScale of nanoT5, https://arxiv.org/abs/2309.02373.
    """
    return optax.chain(
        optax.scale_by_adam(b1=beta1, b2=beta2, eps=EPSILON, mu_dtype=momentum_dtype),
        scale_by_parameter_rms(axes),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
