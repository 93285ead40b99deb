# SPDX-License-Identifier: Apache-2.0
"""From text on disk to batches of token ids, in NumPy alone."""
