# SPDX-License-Identifier: Apache-2.0
"""The data pipeline: turns text on disk into batches of token ids, without JAX."""
