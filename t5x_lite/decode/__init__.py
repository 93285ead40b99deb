# SPDX-License-Identifier: Apache-2.0
"""From a model's probabilities to tokens."""
