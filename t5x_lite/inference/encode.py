# SPDX-License-Identifier: Apache-2.0
"""Embeds texts, batched by length, with the encoder of any model that has one.

Shape letters: B batch, S tokens, D model, E features of an embedding.
"""

import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.load import Pretrained, check_ids, load
from t5x_lite.config.architectures import ENCODER
from t5x_lite.config.encoding import EncodingConfig
from t5x_lite.config.texts import as_texts
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference.engine import WINDOW_BATCHES, bucket, check_call, pad_inputs, run_by_length
from t5x_lite.inference.loop import devices_of
from t5x_lite.inference.params import power_of_two
from t5x_lite.model.sentence_head import SentenceHead, embed, shortened

USUAL_LENGTH = 512  # T5's in pretraining; a batch of longer texts has fewer of them


class Plan(NamedTuple):
    """How to embed texts: a model's own head and the settings that override it."""

    head: SentenceHead
    dimensions: int | None


class Embedding(NamedTuple):
    """The embedding of a text."""

    values: np.ndarray  # float32 [E], or [S, D] without pooling
    is_cut: bool  # whether only the text's first tokens were read


class Tokenised(NamedTuple):
    """The ids of a text."""

    ids: list[int]  # EOS included
    is_cut: bool  # whether they are only the first ones


def encode(
    model: Any,
    texts: Iterable[str],
    *,
    tokenizer: Tokenizer | None = None,
    batch_size: int = 16,
    **settings: Any,
) -> np.ndarray | list[np.ndarray]:
    """Returns the embeddings of texts, or the last hidden states of all their tokens.

        vectors_NE = t5x_lite.encode("sentence-t5-base", ["A dog.", "Ein Hund."])
        hidden_SD, = t5x_lite.encode(t5x_lite.load("umt5-xxl"), ["A prompt"], pooling="none")

    Args:
      model: a directory that `load` reads, the result of `load`, or a model with an encoder, and then its tokenizer;
        parameters sharded over a mesh stay where they are, and the texts are sharded over it.
      texts: a list, or another iterable, of texts.
      tokenizer: the tokenizer of a model given alone.
      batch_size: number of texts to encode at once, rounded up to a multiple of the model's data-parallel devices.
      **settings: fields of `EncodingConfig`: pooling, normalise, dimensions and max_tokens.

    Returns:
      float32 [texts, E]; without pooling, a list of float32 arrays [tokens, D], EOS last.

    Raises:
      ValueError: if a setting is out of range, the model has no encoder, or the tokenizer is another model's.
      TypeError: if a setting does not exist, the texts are a single text, or the tokenizer is missing.
    """
    texts, config = as_texts(texts, "texts"), EncodingConfig(**settings)
    pretrained = _pretrained(model, tokenizer)
    check_call(pretrained, batch_size)
    plan = make_plan(pretrained, config)
    embeddings = list(embed_all(pretrained, texts, plan, batch_size=batch_size))
    if told := cut_message(sum(embedding.is_cut for embedding in embeddings), len(texts), plan):
        print(told, file=sys.stderr)
    vectors = [embedding.values for embedding in embeddings]
    if plan.head.pooling == "none":
        return vectors
    return np.stack(vectors) if vectors else np.zeros((0, num_features(pretrained, plan)), np.float32)


def make_plan(pretrained: Pretrained, config: EncodingConfig) -> Plan:
    """Returns how to embed texts; raises ValueError if the model has no encoder, or too few dimensions."""
    if not pretrained.architecture.traits.has_encoder:
        raise ValueError(
            f"the model is {pretrained.architecture.with_article}, which has no encoder: use another model"
        )
    head = pretrained.head or SentenceHead()
    pooling = config.pooling or head.pooling
    normalise = head.normalise and pooling != "none"
    if config.dimensions is not None and pooling != "none":
        normalise = True
    if config.normalise is not None:
        normalise = config.normalise
    max_tokens = config.max_tokens or head.max_tokens
    head = dataclasses.replace(head, pooling=pooling, normalise=normalise, max_tokens=max_tokens)
    plan = Plan(head, config.dimensions)
    most = num_features(pretrained, plan._replace(dimensions=None))
    if config.dimensions is not None and config.dimensions > most:
        raise ValueError(f"dimensions is {config.dimensions}, but the model has {most}: use at most that")
    return plan


def num_features(pretrained: Pretrained, plan: Plan) -> int:
    """Returns E, the size of an embedding."""
    has_dense = plan.head.dense and plan.head.pooling != "none"
    return plan.dimensions or (plan.head.dense[-1].kernel_DE.shape[1] if has_dense else pretrained.config.emb_dim)


def embed_all(
    pretrained: Pretrained,
    texts: Iterable[str],
    plan: Plan,
    *,
    batch_size: int,
    num_batches: int = WINDOW_BATCHES,
) -> Iterator[Embedding]:
    """Yields the embedding of each text, in order.

    Reads `num_batches` batches ahead, to encode texts of similar length together; texts longer than USUAL_LENGTH are in
    smaller batches.
    """
    devices = devices_of(pretrained.model)
    batch_size = devices.rounded(batch_size)

    def run(tokenised: Sequence[Tokenised]) -> Iterator[Embedding]:
        for batch, shape in batches(tokenised, batch_size, devices.parts):
            ids = [text.ids for text in batch]
            inputs_BS = pad_inputs(ids, shape[0], length=shape[1], pad_id=pretrained.tokenizer.pad_id)
            vectors = devices.fetch(embed(pretrained.model, plan.head, devices.place(inputs_BS)))
            vectors = shortened(vectors, plan.dimensions, normalise=plan.head.normalise)
            for text, values in zip(batch, vectors, strict=False):
                values = values[: len(text.ids)].copy() if plan.head.pooling == "none" else values
                yield Embedding(values, text.is_cut)

    tokenised = (tokenise(pretrained.tokenizer, text, plan.head) for text in texts)
    yield from run_by_length(tokenised, run, length=lambda text: len(text.ids), window=batch_size * num_batches)


def batches(
    texts: Sequence[Tokenised], batch_size: int, parts: int
) -> Iterator[tuple[Sequence[Tokenised], tuple[int, int]]]:
    """Yields batches of texts, given longest first, with their padded shape [B, S]; B is a multiple of `parts`.

    The attention weights of a batch take no more memory than those of `batch_size` texts of USUAL_LENGTH, or of `parts`
    texts if they are longer. B and S are rounded up, to compile few programs.
    """
    begin = 0
    while begin < len(texts):
        length = bucket(len(texts[begin].ids))
        if length > USUAL_LENGTH:
            step = power_of_two(length) // 8
            length = -(-length // step) * step
        most = int(batch_size * min(1.0, (USUAL_LENGTH / length) ** 2)) // parts * parts or parts
        batch = texts[begin : begin + most]
        yield batch, (min(most, parts * power_of_two(-(-len(batch) // parts))), length)
        begin += most


def tokenise(tokenizer: Tokenizer, text: str, head: SentenceHead) -> Tokenised:
    """Returns a text's ids with the head's prompt, cut to its limit."""
    ids = tokenizer.encode(head.prompt + text)
    limit = None if head.max_tokens is None else head.max_tokens - 1
    return Tokenised([*ids[:limit], tokenizer.eos_id], limit is not None and len(ids) > limit)


def cut_message(num_cut: int, number: int, plan: Plan) -> str:
    """Returns a line about cut texts; empty if there are none."""
    return f"{num_cut:,} of {number:,} texts were cut to max_tokens {plan.head.max_tokens}" if num_cut else ""


def _pretrained(model: Any, tokenizer: Tokenizer | None) -> Pretrained:
    if isinstance(model, str | os.PathLike):
        return load(model, tokenizer=tokenizer)
    if isinstance(model, Pretrained):
        return model if tokenizer is None else model._replace(tokenizer=tokenizer)
    if tokenizer is None:
        raise TypeError(
            f"model is a {type(model).__name__} without a tokenizer: add tokenizer=, or pass what load returns"
        )
    if not hasattr(model, "encoder"):
        raise ValueError(f"model is a {type(model).__name__}, which has no encoder: use another model")
    check_ids(model.cfg, tokenizer, "the model")
    return Pretrained(model, tokenizer, model.cfg, 0, ENCODER)
