# SPDX-License-Identifier: Apache-2.0
"""Evaluation on held-out examples: losses and task metrics."""
