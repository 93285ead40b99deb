# SPDX-License-Identifier: Apache-2.0
"""Which class of model a run trains, by name, with what it needs beside a `ModelConfig`."""

import functools
from typing import Any, NamedTuple

import jax
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.transformer import T5

Model = T5 | Decoder | MaskedLM | SequenceClassifier | TokenClassifier

# Those that predict token ids, and those that predict labels.
GENERATORS = {"encoder_decoder": T5, "causal_lm": Decoder, "prefix_lm": Decoder, "masked_lm": MaskedLM}
CLASSIFIERS = {"sequence_classifier": SequenceClassifier, "token_classifier": TokenClassifier}


class Architecture(NamedTuple):
    """A class of model.

    Args:
      name: `model.architecture` of a run: a key of GENERATORS or CLASSIFIERS.
      labels: words that a classifier chooses from, in the order of its logits; nothing for the others.
    """

    name: str = "encoder_decoder"
    labels: tuple[str, ...] = ()


ENCODER_DECODER = Architecture()


def make_model(cfg: ModelConfig, architecture: Architecture, *, rngs: nnx.Rngs) -> Model:
    """Returns a new model of a class."""
    if architecture.name in CLASSIFIERS:
        return CLASSIFIERS[architecture.name](cfg, len(architecture.labels), rngs=rngs)
    return GENERATORS[architecture.name](cfg, rngs=rngs)


@functools.cache
def abstract(cfg: ModelConfig, architecture: Architecture = ENCODER_DECODER) -> Any:
    """Returns a model of `jax.ShapeDtypeStruct`; tracing one takes a quarter of a second, so each is traced once."""
    return jax.eval_shape(lambda: make_model(cfg, architecture, rngs=nnx.Rngs(0)))
