# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: saving and resuming runs, and models in the formats of t5x_lite, Hugging Face and T5X."""
