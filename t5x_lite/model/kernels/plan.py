# SPDX-License-Identifier: Apache-2.0
"""Describes a call of a fused kernel, of any platform."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static about a call; with `is_causal`, the bias hides later keys, and their blocks are skipped."""

    num_queries: int
    num_keys: int
    head_dim: int
    has_codes: bool
    has_prefix: bool
    is_causal: bool
    largest: int  # distance in the bias, from which on it is constant; 0 without a bias
    interpret: bool
