# SPDX-License-Identifier: Apache-2.0
"""Optimizers as Optax transformations that know which dimensions of a parameter are layers, rows and columns."""

from t5x_lite.optim.adafactor import FactoredRmsState as FactoredRmsState
from t5x_lite.optim.adafactor import adafactor as adafactor
from t5x_lite.optim.adafactor import factored_axes as factored_axes
from t5x_lite.optim.builder import make_optimizer as make_optimizer
from t5x_lite.optim.builder import state_axes as state_axes
from t5x_lite.optim.schedules import make_schedule as make_schedule
