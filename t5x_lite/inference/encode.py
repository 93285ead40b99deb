# SPDX-License-Identifier: Apache-2.0
"""Embeds texts, batched by length, with the encoder of any model that has one.

Shape letters: B batch, S tokens, D model, E features of an embedding.
"""

import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.config.architectures import ENCODER
from t5x_lite.config.checks import as_texts, require
from t5x_lite.config.encoding import EncodingConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference.engine import batched, pad_inputs
from t5x_lite.inference.loop import LOCAL, Devices
from t5x_lite.model.sentence_head import SentenceHead, embed, shortened
from t5x_lite.parallel.mesh import batch_sharding

WINDOW_BATCHES = 16  # batches to read ahead and sort by length


class Plan(NamedTuple):
    """How to embed texts: a model's own head and the settings that override it."""

    head: SentenceHead
    dimensions: int | None


class Embedding(NamedTuple):
    """The embedding of a text."""

    values: np.ndarray  # float32 [E], or [S, D] without pooling
    num_tokens: int  # of the text, EOS included
    is_cut: bool  # whether only its first tokens were read


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
        hidden_SD, = t5x_lite.encode(load("umt5-xxl"), ["A prompt"], pooling="none")

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
      ValueError: if a setting is out of range, or the model has no encoder.
      TypeError: if a setting does not exist, the texts are a single text, or the tokenizer is missing.
    """
    texts, config = as_texts(texts, "texts"), EncodingConfig(**settings)
    require(batch_size > 0, f"batch_size is {batch_size}: use a number above 0")
    pretrained = _pretrained(model, tokenizer)
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
    check_dimensions(config.dimensions, num_features(pretrained, plan._replace(dimensions=None)))
    return plan


def check_dimensions(dimensions: int | None, most: int) -> None:
    """Raises ValueError unless an embedding has that many numbers."""
    if dimensions is not None and dimensions > most:
        raise ValueError(f"dimensions is {dimensions}, but the model has {most}: use at most that")


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

    Reads `num_batches` batches ahead, to encode texts of similar length together.
    """
    pad_id, (devices, parts) = pretrained.tokenizer.pad_id, _devices(pretrained.model)
    batch_size = -(-batch_size // parts) * parts
    for window in batched(texts, batch_size * num_batches):
        encoded = [token_ids(pretrained.tokenizer, text, plan.head) for text in window]
        by_length = sorted(range(len(window)), key=lambda number: -len(encoded[number][0]))
        embeddings: dict[int, Embedding] = {}
        for numbers in batched(by_length, batch_size):
            inputs_BS = pad_inputs([encoded[number][0] for number in numbers], batch_size, pad_id=pad_id)
            vectors = devices.fetch(embed(pretrained.model, plan.head, devices.place(inputs_BS)))
            vectors = shortened(vectors, plan.dimensions, normalise=plan.head.normalise)
            for number, values in zip(numbers, vectors, strict=False):
                ids, num_tokens = encoded[number]
                values = values[: len(ids)].copy() if plan.head.pooling == "none" else values
                embeddings[number] = Embedding(values, num_tokens, len(ids) < num_tokens)
        yield from (embeddings[number] for number in range(len(window)))


def token_ids(tokenizer: Tokenizer, text: str, head: SentenceHead) -> tuple[list[int], int]:
    """Returns a text's ids with EOS, cut to the head's limit, and their number before the cut."""
    ids = tokenizer.encode(head.prompt + text)
    limit = None if head.max_tokens is None else head.max_tokens - 1
    return [*ids[:limit], tokenizer.eos_id], len(ids) + 1


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
    return Pretrained(model, tokenizer, model.cfg, 0, ENCODER)


def _devices(model: Any) -> tuple[Devices, int]:
    """Returns the transfers to the mesh of a model's parameters, and the number of shards of a batch on it."""
    sharding = getattr(jax.tree.leaves(model)[0], "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.mesh.size == 1:
        return LOCAL, 1
    mesh: Any = sharding.mesh
    rows = batch_sharding(mesh)
    return Devices(lambda inputs_BS: jax.device_put(inputs_BS, rows)), mesh.shape["data"] * mesh.shape["fsdp"]
