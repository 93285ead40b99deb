# SPDX-License-Identifier: Apache-2.0
"""Options of embeddings."""

import dataclasses
from typing import Literal

from t5x_lite.config.checks import Rule, check_fields

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
        check_fields(self, "", {Rule(lambda value: value > 0, "use a whole number above 0"): "dimensions max_tokens"})
