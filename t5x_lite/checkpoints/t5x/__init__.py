# SPDX-License-Identifier: Apache-2.0
"""T5X checkpoints."""
