# SPDX-License-Identifier: Apache-2.0
"""How texts become vectors."""

import dataclasses
import typing
from typing import Literal

from t5x_lite.config.checks import POSITIVE, Rule, check_fields

Pooling = Literal["mean", "first", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """Embeddings of texts; null follows the model's directory, if it is one of sentence-transformers.

    Args:
      pooling: mean, over the tokens' last hidden states, EOS included; first, that of the first token; or none, those
        of every token; null is mean.
      normalise: divide vectors by their L2 norm; null is true, or false without pooling.
      dimensions: number of leading components of a vector to keep, normalised again; null keeps all.
      max_tokens: number of tokens to which texts are cut, EOS included; null cuts none.
    """

    pooling: Pooling | None = None
    normalise: bool | None = None
    dimensions: int | None = None
    max_tokens: int | None = None

    def __post_init__(self):
        known = typing.get_args(Pooling)
        known_pooling = Rule(lambda pooling: pooling in known, f"use one of {', '.join(known)}")
        check_fields(self, "", {known_pooling: "pooling", POSITIVE: "dimensions max_tokens"})
