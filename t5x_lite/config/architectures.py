# SPDX-License-Identifier: Apache-2.0
"""The model architectures: one record per architecture, which all other code consults instead of comparing names.

To add an architecture, write its model in a separate module and add a record to ARCHITECTURES. The model is a
`flax.nnx.Module` that satisfies `model.architectures.Model`; it is imported only when a model is built.
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traits:
    """The traits of an architecture; classes and functions are given as package.module:NAME."""

    model: str  # the model's class
    converter: str | None  # the factory of its feature converter, see `data.converters`; None if nothing is predicted
    has_encoder: bool  # whether an encoder reads the inputs
    decodes: bool = False  # whether a decoder generates text, one token at a time
    sees_prefix: bool = False  # whether a decoder without an encoder reads its inputs bidirectionally
    labels_per: Literal["sequence", "token"] | None = None  # what a classifier labels; None for models of token ids

    @property
    def predicts(self) -> bool:
        """Whether the model predicts text, tokens or labels, and can be trained; an encoder alone only encodes."""
        return self.converter is not None

    @property
    def fills_spans(self) -> bool:
        """Whether the model generates the spans that sentinels in its inputs stand for."""
        return self.has_encoder and self.decodes

    @property
    def fills_masks(self) -> bool:
        """Whether the model predicts the token under each mask, in place."""
        return self.predicts and not self.decodes and self.labels_per is None


_MODEL, _DATA = "t5x_lite.model", "t5x_lite.data"
_DECODER = Traits(
    model=f"{_MODEL}.decoder:Decoder",
    converter=f"{_DATA}.prefix_lm:decoder_converter",
    has_encoder=False,
    decodes=True,
)

ARCHITECTURES: Mapping[str, Traits] = types.MappingProxyType(
    {
        "encoder_decoder": Traits(
            model=f"{_MODEL}.transformer:T5",
            converter=f"{_DATA}.converters:encoder_decoder_converter",
            has_encoder=True,
            decodes=True,
        ),
        "causal_lm": _DECODER,
        "prefix_lm": dataclasses.replace(_DECODER, sees_prefix=True),
        "encoder": Traits(model=f"{_MODEL}.encoder:Encoder", converter=None, has_encoder=True),
        "masked_lm": Traits(
            model=f"{_MODEL}.encoder:MaskedLM", converter=f"{_DATA}.masked_lm:masked_lm_converter", has_encoder=True
        ),
        "sequence_classifier": Traits(
            model=f"{_MODEL}.encoder:SequenceClassifier",
            converter=f"{_DATA}.labels:label_converter",
            has_encoder=True,
            labels_per="sequence",
        ),
        "token_classifier": Traits(
            model=f"{_MODEL}.encoder:TokenClassifier",
            converter=f"{_DATA}.labels:label_converter",
            has_encoder=True,
            labels_per="token",
        ),
    }
)
DECODERS = tuple(name for name, traits in ARCHITECTURES.items() if traits.decodes)
TRAINABLE = tuple(name for name, traits in ARCHITECTURES.items() if traits.predicts)
# Those that an encoder alone can initialise.
FROM_ENCODER = tuple(name for name in TRAINABLE if ARCHITECTURES[name].has_encoder and not ARCHITECTURES[name].decodes)
DEFAULT = "encoder_decoder"

if TYPE_CHECKING:
    ArchitectureName = str
else:
    ArchitectureName = Literal[TRAINABLE]


class Architecture(NamedTuple):
    """The architecture of one model, as checkpoints store it."""

    name: str = DEFAULT  # a key of ARCHITECTURES
    labels: tuple[str, ...] = ()  # a classifier's labels, in the order of its logits; empty for other architectures
    keeps_eos: bool = False  # whether a decoder reads inputs, their EOS included, before its targets, as in SeqIO

    @property
    def traits(self) -> Traits:
        """The record of this architecture."""
        return ARCHITECTURES[self.name]

    @property
    def with_article(self) -> str:
        """The name in a sentence: "an encoder", "a masked_lm"."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"

    def as_json(self) -> dict[str, object]:
        """Returns the fields as stored in checkpoints; those of the first versions had only a name and labels."""
        fields: dict[str, object] = {"name": self.name, "labels": self.labels}
        return fields | {"keeps_eos": True} if self.keeps_eos else fields

    def check_predicts(self) -> None:
        """Raises ValueError unless the model predicts text, tokens or labels."""
        if not self.traits.predicts:
            raise ValueError(
                f"the model is {self.with_article} alone, which predicts nothing: use t5x-lite embed, or train one of "
                f"{', '.join(FROM_ENCODER)} that starts from it"
            )


ENCODER_DECODER, ENCODER = Architecture(), Architecture("encoder")
