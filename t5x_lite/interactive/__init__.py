# SPDX-License-Identifier: Apache-2.0
"""A prompt in the terminal: `t5x-lite infer --interactive`."""

from t5x_lite.interactive.session import run as run
