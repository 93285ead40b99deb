# SPDX-License-Identifier: Apache-2.0
"""Inference on batches of texts: decoding with scores, or the predictions of an encoder model.

Shape letters: B batch, S input tokens, K sequences per example, T new tokens.
"""

import functools
import itertools
import numbers
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers import Tokenizer, trim
from t5x_lite.inference.loop import LOCAL, Devices, Generated, generate_ids, stream_ids
from t5x_lite.inference.params import DecodeSpec, SamplingParams, make_decode_spec, make_sampling_params, power_of_two
from t5x_lite.inference.predict import label_probabilities, predict
from t5x_lite.model.kernels.unstacked import decode_layout

LENGTH_BUCKET = 64  # lengths are rounded up to multiples of this, to compile few programs
MIN_BUCKET = 16
WINDOW_BATCHES = 16  # batches to read ahead and sort by length
SENTINEL = re.compile(r"<extra_id_(\d+)>")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Decoded(NamedTuple):
    """One decoded sequence."""

    text: str
    score: float | None  # the sum of log_probs, or a beam's score; None if not requested
    tokens: list[str]  # pieces as they appear in the text, without EOS
    log_probs: list[float]  # per token, EOS included; empty for beams, and if not requested
    ended: bool  # whether by EOS or a stop token, not by max_new_tokens


class Answer(NamedTuple):
    """A model's answer to one text."""

    sequences: list[Decoded]  # best first
    num_input_tokens: int
    probabilities: dict[str, float]  # per label; empty except for sequence classifiers


class Request(NamedTuple):
    """A text and its decoding settings."""

    text: str
    config: GenerationConfig
    stream: int = 0  # the same seed and stream give the same samples


def answer_batch(
    pretrained: Pretrained,
    requests: Sequence[Request],
    *,
    batch_size: int,
    scores: bool = False,
    devices: Devices = LOCAL,
) -> list[Answer]:
    """Answers up to `batch_size` requests in one padded batch; their configs must have the same `batch_key`."""
    tokenizer, architecture = pretrained.tokenizer, pretrained.architecture
    architecture.check_predicts()
    encoded = [[*tokenizer.encode(request.text), tokenizer.eos_id] for request in requests]
    inputs_BS = pad_inputs(encoded, batch_size, pad_id=tokenizer.pad_id)
    lengths = [len(ids) for ids in encoded]
    if not architecture.traits.decodes:
        return _answer_with_encoder(pretrained, inputs_BS, lengths, devices)
    params, spec = params_and_spec(pretrained, requests, batch_size, scores=scores)
    generated = generate_ids(pretrained.model, architecture, inputs_BS, params, spec, devices)
    return [
        Answer(_sequences(generated, row, request, params, tokenizer), length, {})
        for row, (request, length) in enumerate(zip(requests, lengths, strict=True))
    ]


def stream_answer(pretrained: Pretrained, request: Request) -> Iterator[str]:
    """Yields the answer so far after each token; requires a model that decodes, and no beam search."""
    tokenizer = pretrained.tokenizer
    inputs_BS = pad_inputs([[*tokenizer.encode(request.text), tokenizer.eos_id]], 1, pad_id=tokenizer.pad_id)
    params, spec = params_and_spec(pretrained, [request], 1)
    stops = set(params.stop_BW[0].tolist())
    for tokens_BKT in stream_ids(pretrained.model, pretrained.architecture, inputs_BS, params, spec):
        yield tokenizer.decode(trim(tokens_BKT[0, 0], stops, pad_id=tokenizer.pad_id)[0])


def for_decoding(pretrained: Pretrained) -> Pretrained:
    """Returns the model in the fastest layout for decoding."""
    return pretrained._replace(model=decode_layout(pretrained.model))


def fill_in(text: str, prediction: str) -> str:
    """Replaces each sentinel in a text with its predicted span; keeps sentinels without a prediction."""
    _, *numbered = SENTINEL.split(prediction)
    spans: dict[str, str] = {}
    for number, span in zip(numbered[::2], numbered[1::2], strict=True):
        spans.setdefault(number, span.strip())
    return SENTINEL.sub(lambda match: spans.get(match[1], match[0]), text)


def params_and_spec(
    pretrained: Pretrained, requests: Sequence[Request], batch_size: int, *, scores: bool = False
) -> tuple[SamplingParams, DecodeSpec]:
    """Returns the parameters and spec of a padded batch; raises ValueError if a setting does not suit the model."""
    configs = [request.config for request in requests]
    num_steps, vocab_size = bucket(max(config.max_new_tokens for config in configs)), pretrained.tokenizer.vocab_size
    spec = make_decode_spec(configs, vocab_size=vocab_size, num_steps=num_steps, scores=scores, model=pretrained.config)
    return batch_params(pretrained, requests, batch_size), spec


def batch_params(pretrained: Pretrained, requests: Sequence[Request], batch_size: int) -> SamplingParams:
    """Returns the parameters of a padded batch; raises ValueError if a setting does not suit the model."""
    tokenizer = pretrained.tokenizer
    configs = [request.config for request in requests]
    forced = [tokenizer.encode(config.forced_prefix) if config.forced_prefix else [] for config in configs]
    for config, ids in zip(configs, forced, strict=True):
        check_tokens(config, ids, pretrained)
    num_padding = batch_size - len(requests)
    return make_sampling_params(
        [*configs, *[GenerationConfig(max_new_tokens=1)] * num_padding],
        [*(request.stream for request in requests), *[0] * num_padding],
        eos_id=tokenizer.eos_id,
        forced=[*forced, *[[]] * num_padding],
    )


def check_tokens(config: GenerationConfig, forced: Sequence[int], pretrained: Pretrained) -> None:
    """Raises ValueError if a config names ids the model lacks, or leaves no room after its forced prefix."""
    vocab_size = pretrained.config.vocab_size
    for field in ("banned_tokens", "stop_tokens"):
        wrong = [token for token in getattr(config, field) if token >= vocab_size]
        if wrong:
            raise ValueError(f"{field} has {wrong}, but the model has ids below {vocab_size:,}: leave them out")
    if len(forced) >= config.max_new_tokens:
        raise ValueError(
            f"forced_prefix has {len(forced)} tokens and max_new_tokens is {config.max_new_tokens}: use a larger one"
        )


def bucket(length: int) -> int:
    """Rounds a length up to its bucket, a length that programs are compiled for."""
    if length <= LENGTH_BUCKET:
        return max(MIN_BUCKET, power_of_two(length))
    return -(-length // LENGTH_BUCKET) * LENGTH_BUCKET


def pad_inputs(
    encoded: Sequence[Sequence[int]], batch_size: int, *, length: int | None = None, pad_id: int
) -> np.ndarray:
    """Returns inputs_BS, padded to the batch size and the length, or else a bucketed length."""
    inputs_BS = np.full((batch_size, length or bucket(max(map(len, encoded)))), pad_id, np.int32)
    for row, ids in zip(inputs_BS, encoded, strict=False):
        row[: len(ids)] = ids
    return inputs_BS


def check_call(pretrained: Any, batch_size: Any) -> None:
    """Raises TypeError unless `pretrained` is a result of `load`, and ValueError unless the batch size is positive."""
    if not isinstance(pretrained, Pretrained):
        raise TypeError(f"pretrained is of type {type(pretrained).__name__}: pass what t5x_lite.load returns")
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}: use a whole number above 0")


def batched(items: Iterable, size: int) -> Iterator[list]:
    """Yields lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def run_by_length(
    items: Iterable[Item],
    run: Callable[[Sequence[Item]], Iterable[Result]],
    *,
    length: Callable[[Item], int],
    window: int,
) -> Iterator[Result]:
    """Yields the result for each item, in order; `run` gets `window` items at a time, longest first."""
    for some in batched(items, window):
        order = sorted(range(len(some)), key=lambda number: -length(some[number]))
        results = dict(zip(order, run([some[number] for number in order]), strict=True))
        yield from (results[number] for number in range(len(some)))


def _sequences(
    generated: Generated, row: int, request: Request, params: SamplingParams, tokenizer: Tokenizer
) -> list[Decoded]:
    stops = set(params.stop_BW[row].tolist())
    surfaces = _surfaces(tokenizer)
    sequences = []
    for k in range(request.config.num_return_sequences):
        log_probs_T = generated.log_probs_BKT[row, k]
        ids, ended = trim(generated.tokens_BKT[row, k], stops, pad_id=tokenizer.pad_id)
        has_score = log_probs_T.size > 0 or request.config.num_beams > 1
        sequences.append(
            Decoded(
                text=tokenizer.decode(ids),
                score=float(generated.scores_BK[row, k]) if has_score else None,
                tokens=[surfaces[token] if token < len(surfaces) else "\ufffd" for token in ids],
                log_probs=log_probs_T[: len(ids) + ended].tolist(),
                ended=ended,
            )
        )
    return sequences


@functools.lru_cache(maxsize=2)  # takes 20 ms
def _surfaces(tokenizer: Tokenizer) -> list[str]:
    surfaces = list(tokenizer.surfaces())
    for number in range(tokenizer.num_sentinels):
        surfaces[tokenizer.sentinel_id(number)] = f"<extra_id_{number}>"
    return surfaces


def _answer_with_encoder(
    pretrained: Pretrained, inputs_BS: np.ndarray, lengths: Sequence[int], devices: Devices
) -> list[Answer]:
    architecture = pretrained.architecture
    texts = predict(pretrained.model, architecture, inputs_BS, pretrained.tokenizer, devices=devices)
    probabilities: Sequence[dict[str, float]] = [{}] * len(lengths)
    if architecture.traits.labels_per == "sequence":
        probabilities = label_probabilities(pretrained.model, inputs_BS, architecture.labels)
    return [
        Answer([Decoded(text, None, [], [], True)], length, of_labels)
        for text, length, of_labels in zip(texts, lengths, probabilities, strict=False)
    ]
