# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other programs: T5X's files, and the names others give to T5's arrays."""
