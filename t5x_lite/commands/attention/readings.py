# SPDX-License-Identifier: Apache-2.0
"""Model inputs and predicting positions for a text and its target, by architecture.

Shape letters: 1 the only example, S input tokens, T target tokens, P positions that predict.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.commands.attention.token_names import Names
from t5x_lite.config.commands import AttentionConfig
from t5x_lite.data.labels import Words
from t5x_lite.data.tokenizers import Tokenizer, trim
from t5x_lite.inference.loop import greedy_ids

MAX_TOKENS = 512  # per text or target; more would be illegible
REMEDY = "or leave --target out for the most probable ones"


class Reading(NamedTuple):
    """The inputs of a model and its predictions."""

    inputs: np.ndarray  # input ids, [1, S]; [1, T] for a decoder-only model
    second: np.ndarray | None  # the second argument of `attention_maps`
    place_P: np.ndarray  # predicting positions; [-1] for a sequence classifier
    chosen_P: np.ndarray | None  # tokens or labels to score; None for the most probable ones
    names: Names  # of the predictable tokens or labels


def make_reading(pretrained: Pretrained, options: AttentionConfig, names: Names) -> Reading:
    """Returns the model's inputs; raises ValueError if the text or target is too long or does not suit the model."""
    tokenizer, traits = pretrained.tokenizer, pretrained.architecture.traits
    inputs_1S = np.asarray([_encode(tokenizer, "--text", options.text)], np.int32)
    if traits.decodes:
        targets_T = _targets(pretrained, options, inputs_1S)
        if traits.has_encoder:
            decoder_inputs_1T = np.concatenate([[pretrained.config.start_id], targets_T[:-1]])[None].astype(np.int32)
            return Reading(inputs_1S, decoder_inputs_1T, np.arange(len(targets_T)), targets_T, names)
        return _continuation(pretrained, inputs_1S, targets_T, names)
    if traits.fills_masks:
        return _masked(tokenizer, options.target, inputs_1S, names)
    return _labelled(pretrained, options.target, inputs_1S)


def _encode(tokenizer: Tokenizer, option: str, text: str) -> list[int]:
    """Returns ids and EOS; raises ValueError if there are too many to show."""
    ids = [*tokenizer.encode(text), tokenizer.eos_id]
    if len(ids) > MAX_TOKENS:
        raise ValueError(
            f"{option} has {len(ids):,} tokens, EOS included, but at most {MAX_TOKENS} can be shown: shorten it"
        )
    return ids


def _targets(pretrained: Pretrained, options: AttentionConfig, inputs_1S: np.ndarray) -> np.ndarray:
    """Returns the ids of the target, or else of the greedily decoded output."""
    tokenizer = pretrained.tokenizer
    if options.target is not None:
        return np.asarray(_encode(tokenizer, "--target", options.target), np.int32)
    decoded_1T = greedy_ids(
        pretrained.model, pretrained.architecture, inputs_1S, tokenizer, max_new_tokens=options.max_new_tokens
    )
    return np.asarray(trim(decoded_1T[0], pad_id=tokenizer.pad_id)[0], np.int32)


def _continuation(pretrained: Pretrained, inputs_1S: np.ndarray, targets_T: np.ndarray, names: Names) -> Reading:
    start_id, architecture = pretrained.config.start_id, pretrained.architecture
    prompt_P = inputs_1S[0] if architecture.keeps_eos else inputs_1S[0, :-1]
    first = len(prompt_P)  # the last prompt token, which follows the start, predicts the first target
    read_1T = np.concatenate([[start_id], prompt_P, targets_T[:-1]])[None].astype(np.int32)
    sees_prefix = architecture.traits.sees_prefix
    prefix_1T = (np.arange(read_1T.shape[1]) <= first)[None].astype(np.int32) if sees_prefix else None
    return Reading(read_1T, prefix_1T, first + np.arange(len(targets_T)), targets_T, names)


def _masked(tokenizer: Tokenizer, target: str | None, inputs_1S: np.ndarray, names: Names) -> Reading:
    place_P = np.flatnonzero(inputs_1S[0] == tokenizer.sentinel_id(0))
    chosen_P = None if target is None else np.asarray(tokenizer.encode(target), np.int32)
    if chosen_P is not None and len(chosen_P) != len(place_P):
        raise ValueError(
            f"--target {target!r} has {len(chosen_P)} tokens, but --text masks {len(place_P)} with <extra_id_0>: give "
            f"one for each, {REMEDY}"
        )
    return Reading(inputs_1S, None, place_P, chosen_P, names)


def _labelled(pretrained: Pretrained, target: str | None, inputs_1S: np.ndarray) -> Reading:
    labels = pretrained.architecture.labels
    if pretrained.architecture.traits.labels_per == "sequence":
        chosen_P = None if target is None else np.asarray([_label(target, labels)])
        return Reading(inputs_1S, None, np.asarray([-1]), chosen_P, labels)
    place_P, chosen_P = np.flatnonzero(Words(pretrained.tokenizer).starts(inputs_1S)[0]), None
    if target is not None:
        words = target.split()
        if len(words) != len(place_P):
            raise ValueError(
                f"--target {target!r} has {len(words)} labels, but --text has {len(place_P)} words: give one for each, "
                f"{REMEDY}"
            )
        chosen_P = np.asarray([_label(word, labels) for word in words], np.int32)
    return Reading(inputs_1S, None, place_P, chosen_P, labels)


def _label(target: str, labels: Sequence[str]) -> int:
    if target not in labels:
        raise ValueError(f"--target {target!r} is not a label of this model: use {', '.join(labels[:20])}")
    return labels.index(target)
