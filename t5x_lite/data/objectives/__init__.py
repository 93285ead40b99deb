# SPDX-License-Identifier: Apache-2.0
"""What the model is asked to predict: objectives turn chunks of a stream of ids into inputs and targets.

All randomness is a pure function of (seed, index of the example): a row is the same in whatever batch, on whatever
host, it is made. A new objective is a new file here with a class like `Objective`, and a line in `CLASSES`.

Shape letters: B batch, L tokens of a chunk, S tokens the encoder reads, T tokens the decoder predicts.
"""

from typing import Any, ClassVar, Protocol

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.objectives.iid_denoising import IidDenoising
from t5x_lite.data.objectives.language_modeling import CausalLM, PrefixLM
from t5x_lite.data.objectives.masked_lm import MaskedLM
from t5x_lite.data.objectives.span_corruption import SpanCorruption, span_corruption_lengths
from t5x_lite.data.objectives.ul2 import ul2_denoisers
from t5x_lite.data.tokenizers import Tokenizer

__all__ = [
    "CausalLM",
    "IidDenoising",
    "MaskedLM",
    "Objective",
    "PrefixLM",
    "SpanCorruption",
    "make_objectives",
    "span_corruption_lengths",
    "ul2_denoisers",
]

CLASSES = {
    "span_corruption": SpanCorruption,
    "iid_denoising": IidDenoising,
    "prefix_lm": PrefixLM,
    "causal_lm": CausalLM,
    "masked_lm": MaskedLM,
}


class Objective(Protocol):
    """A frozen dataclass that makes examples of chunks; sent to worker processes by pickling.

    Attributes:
      chunk_length: L, tokens that it takes.
      inputs_length: S.
      targets_length: T.
      seed: of the order of the examples and of what is random in them.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def chunk_length(self) -> int: ...
    @property
    def inputs_length(self) -> int: ...
    @property
    def targets_length(self) -> int: ...
    @property
    def seed(self) -> int: ...

    def __call__(self, tokens_BL: np.ndarray, index_B: np.ndarray) -> dict[str, np.ndarray]:
        """Makes an example of one chunk a row.

        Args:
          tokens_BL: ids, of any integer type.
          index_B: the examples' places in the stream; row b depends on `tokens_BL[b]`, `index_B[b]` and `seed` alone.

        Returns:
          `inputs` [B, S] and `targets` [B, T], int32, EOS at the end of each and 0 after it; some objectives also
          `loss_weights` [B, T], int32, 1 where a target counts. Without them every target counts that is not 0.
        """
        ...


def make_objectives(cfg: RunConfig, tokenizer: Tokenizer) -> tuple[tuple[float, Objective], ...]:
    """Returns what `task.objective` names as (rate, objective): one of rate 1, or a mixture whose rates add up to 1.

    Raises:
      ValueError: if the objective does not fit `cfg.train` or the tokenizer.
    """
    if cfg.task.objective == "ul2":
        return tuple(ul2_denoisers(cfg, tokenizer))
    return ((1.0, CLASSES[cfg.task.objective].from_config(cfg, tokenizer)),)
