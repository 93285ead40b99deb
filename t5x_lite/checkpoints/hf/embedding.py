# SPDX-License-Identifier: Apache-2.0
"""Finds a T5's embedding and output layer among the tables in Hugging Face's weights.

transformers has four tables: `shared.weight`, to which the others may be tied, the encoder's, the decoder's and the
output layer's. A file holds any of them, with or without copies. An absent table equals `shared.weight` or, if that is
absent too, the first that is there. Tables are tied if they are equal, whatever config.json says.

Source: transformers 5.24, `PreTrainedModel.tie_weights`.
"""

import pathlib
from collections.abc import Callable, Mapping

from t5x_lite.checkpoints.arrays import LazyArray, equal

SHARED, LM_HEAD = "shared.weight", "lm_head.weight"
INPUTS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def with_one_embedding(
    arrays: Mapping[str, LazyArray], path: pathlib.Path, *, tell: Callable[[str], object] = lambda line: None
) -> dict[str, LazyArray]:
    """Returns the arrays with the embedding only as SHARED and, unless it is tied, the output layer as LM_HEAD.

    `tell` is called with a warning if SHARED contradicts the embedding that transformers uses.

    Raises:
      ValueError: if the encoder and the decoder have different embeddings: a T5 has one here.
    """
    tables = {name: arrays[name] for name in (SHARED, *INPUTS, LM_HEAD) if name in arrays}
    others = {name: array for name, array in arrays.items() if name not in tables}
    if not tables:
        return others
    fallback = next(iter(tables))
    encoder, decoder, output = (name if name in tables else fallback for name in (*INPUTS, LM_HEAD))

    def same(one: str, other: str) -> bool:
        return one == other or equal(tables[one], tables[other])

    if not same(encoder, decoder):
        raise ValueError(
            f"{path} has {decoder} different from {encoder}, but a T5 has one embedding: correct one of them"
        )
    if not same(encoder, fallback):
        use = "not used" if LM_HEAD in tables else "the output layer"
        tell(
            f"{path} has {fallback} different from {encoder}: as in transformers, the latter is the embedding, the "
            f"former {use}"
        )
    return others | {SHARED: tables[encoder]} | ({} if same(encoder, output) else {LM_HEAD: tables[output]})
