# SPDX-License-Identifier: Apache-2.0
"""Training: the loop, the update step, checkpoints to start from, logs and the run directory."""
