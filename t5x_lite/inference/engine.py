# SPDX-License-Identifier: Apache-2.0
"""Texts in, what a loaded model makes of them out: decoded texts with scores, blanks filled in, labels.

Shape letters: B batch, S input tokens, K sequences of an example, T new tokens.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import GenerationConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference.loop import HERE, Devices, Generated, generate_ids, stream_ids
from t5x_lite.inference.params import Controls, Plan, batches_with, make_controls, make_plan
from t5x_lite.inference.predict import label_probabilities, make_answer
from t5x_lite.model.kernels.cpu import unstacked

LENGTH_BUCKET = 64  # lengths are rounded up to a multiple of it, so that few are compiled
SMALLEST_BUCKET = 16
SENTINEL = re.compile(r"<extra_id_(\d+)>")


class Decoded(NamedTuple):
    """One decoded sequence."""

    text: str
    score: float | None  # the sum of the tokens' log-probabilities, or a beam's score; None if not asked for
    tokens: list[str]  # pieces as they are in the text, EOS not among them
    log_probs: list[float]  # of each token, EOS among them; empty if not asked for, and of beams
    ended: bool  # by EOS or a stop token, and not by max_new_tokens


class Answer(NamedTuple):
    """What a model makes of one text."""

    sequences: list[Decoded]  # the best first
    num_input_tokens: int
    probabilities: dict[str, float]  # of labels; of a sequence classifier alone


class Request(NamedTuple):
    """A text, and how to decode."""

    text: str
    config: GenerationConfig
    stream: int = 0  # requests of the same seed and stream draw the same


def answer_batch(
    pretrained: Pretrained,
    requests: Sequence[Request],
    *,
    batch_size: int,
    scores: bool = False,
    devices: Devices = HERE,
) -> list[Answer]:
    """Returns what a model makes of up to `batch_size` texts, decoded together.

    Args:
      pretrained: what `load` returns.
      requests: the texts; their configs may differ, but not in what `decode.controls.batches_with` tells.
      batch_size: rows of the batch that is computed, whatever number of requests there is.
      scores: whether log-probabilities of tokens are wanted.
      devices: that the model is on.
    """
    tokenizer, architecture = pretrained.tokenizer, pretrained.architecture
    encoded = [[*tokenizer.encode(request.text), tokenizer.eos_id] for request in requests]
    inputs_BS = padded(encoded, batch_size)
    lengths = [len(ids) for ids in encoded]
    if not architecture.traits.decodes:
        return _of_encoder(pretrained, inputs_BS, lengths, devices)
    controls, plan = controls_and_plan(pretrained, requests, batch_size, scores=scores)
    generated = generate_ids(pretrained.model, architecture, inputs_BS, controls, plan, devices)
    return [
        Answer(_sequences(generated, row, request, controls, tokenizer), length, {})
        for row, (request, length) in enumerate(zip(requests, lengths, strict=True))
    ]


def stream_answer(pretrained: Pretrained, request: Request) -> Iterator[str]:
    """Yields more and more of a model's answer to one text; not of a beam search.

    Args:
      pretrained: of an architecture that decodes.
      request: the text.
    """
    tokenizer = pretrained.tokenizer
    inputs_BS = padded([[*tokenizer.encode(request.text), tokenizer.eos_id]], 1)
    controls, plan = controls_and_plan(pretrained, [request], 1)
    stops = set(controls.stop_BW[0].tolist())
    for tokens_BKT in stream_ids(pretrained.model, pretrained.architecture, inputs_BS, controls, plan):
        yield tokenizer.decode(_without_end(tokens_BKT[0, 0], stops)[0])


def laid_out(pretrained: Pretrained) -> Pretrained:
    """Returns a model as its batches are decoded fastest, for those who have many of them; it answers, and no more."""
    return pretrained._replace(model=unstacked(pretrained.model))


def fill_in(text: str, prediction: str) -> str:
    """Replaces each sentinel of the text by what the prediction says after it; one it leaves out stays as it is."""
    _, *numbered = SENTINEL.split(prediction)
    spans: dict[str, str] = {}
    for number, span in zip(numbered[::2], numbered[1::2], strict=True):
        spans.setdefault(number, span.strip())
    return SENTINEL.sub(lambda match: spans.get(match[1], match[0]), text)


def controls_and_plan(
    pretrained: Pretrained, requests: Sequence[Request], batch_size: int, *, scores: bool = False
) -> tuple[Controls, Plan]:
    """Returns what decoding is told of some requests, whose rows are followed by rows of padding.

    Raises:
      ValueError: if a setting does not suit the model.
    """
    tokenizer = pretrained.tokenizer
    configs = [request.config for request in requests]
    assert len({batches_with(config) for config in configs}) == 1, "these cannot be decoded in one batch"
    forced = [tokenizer.encode(config.forced_prefix) if config.forced_prefix else [] for config in configs]
    for config, ids in zip(configs, forced, strict=True):
        check_tokens(config, ids, pretrained)
    num_fillers = batch_size - len(requests)
    idle = GenerationConfig(max_new_tokens=1)
    controls = make_controls(
        [*configs, *[idle] * num_fillers],
        [*(request.stream for request in requests), *[0] * num_fillers],
        eos_id=tokenizer.eos_id,
        forced=[*forced, *[[]] * num_fillers],
    )
    num_steps = bucket(max(config.max_new_tokens for config in configs))
    return controls, make_plan(configs, vocab_size=tokenizer.vocab_size, num_steps=num_steps, scores=scores)


def check_tokens(config: GenerationConfig, forced: Sequence[int], pretrained: Pretrained) -> None:
    """Raises ValueError if a config names tokens that a model does not have, or no room for its prefix."""
    vocab_size = pretrained.config.vocab_size
    for field in ("banned_tokens", "stop_tokens"):
        wrong = [token for token in getattr(config, field) if token >= vocab_size]
        if wrong:
            raise ValueError(f"{field} has {wrong}, and the model has ids below {vocab_size:,}: leave them out")
    if len(forced) >= config.max_new_tokens:
        raise ValueError(
            f"forced_prefix has {len(forced)} tokens and max_new_tokens is {config.max_new_tokens}: use a larger one"
        )


def bucket(length: int) -> int:
    """Returns the length that is compiled for one that is asked for."""
    if length <= LENGTH_BUCKET:
        return max(SMALLEST_BUCKET, 2 ** (length - 1).bit_length())
    return -(-length // LENGTH_BUCKET) * LENGTH_BUCKET


def padded(encoded: Sequence[Sequence[int]], batch_size: int) -> np.ndarray:
    """Returns inputs_BS, zero-padded to a whole batch and a whole bucket of lengths."""
    inputs_BS = np.zeros((batch_size, bucket(max(map(len, encoded)))), np.int32)
    for row, ids in zip(inputs_BS, encoded, strict=False):
        row[: len(ids)] = ids
    return inputs_BS


def batched(items: Sequence, size: int) -> Iterator[list]:
    """Yields lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _sequences(
    generated: Generated, row: int, request: Request, controls: Controls, tokenizer: Tokenizer
) -> list[Decoded]:
    stops = set(controls.stop_BW[row].tolist())
    surfaces = _surfaces(tokenizer)
    sequences = []
    for k in range(request.config.num_return_sequences):
        tokens_T, log_probs_T = generated.tokens_BKT[row, k], generated.log_probs_BKT[row, k]
        ids, ended = _without_end(tokens_T, stops)
        has_score = log_probs_T.size > 0 or request.config.num_beams > 1
        sequences.append(
            Decoded(
                text=tokenizer.decode(ids),
                score=float(generated.scores_BK[row, k]) if has_score else None,
                tokens=[surfaces[token] if token < len(surfaces) else "" for token in ids],
                log_probs=log_probs_T[: len(ids) + ended].tolist(),
                ended=ended,
            )
        )
    return sequences


def _without_end(tokens_T: np.ndarray, stops: set[int]) -> tuple[list[int], bool]:
    """Returns the ids before what ends a sequence, and whether anything does."""
    ids = tokens_T[: int(np.max(np.flatnonzero(tokens_T), initial=-1)) + 1].tolist()
    return (ids[:-1], True) if ids and ids[-1] in stops else (ids, False)


@functools.lru_cache(maxsize=2)
def _surfaces(tokenizer: Tokenizer) -> list[str]:
    surfaces = list(tokenizer.surfaces())  # takes 20 ms
    for number in range(tokenizer.num_sentinels):
        surfaces[tokenizer.sentinel_id(number)] = f"<extra_id_{number}>"
    return surfaces


def _of_encoder(
    pretrained: Pretrained, inputs_BS: np.ndarray, lengths: Sequence[int], devices: Devices
) -> list[Answer]:
    architecture = pretrained.architecture
    texts = make_answer(architecture, pretrained.tokenizer, GenerationConfig(), devices)(pretrained.model, inputs_BS)
    shares: Sequence[dict[str, float]] = [{}] * len(lengths)
    if architecture.traits.labels_per == "sequence":
        shares = label_probabilities(pretrained.model, inputs_BS, architecture.labels)
    return [
        Answer([Decoded(text, None, [], [], True)], length, share)
        for text, length, share in zip(texts, lengths, shares, strict=False)
    ]
