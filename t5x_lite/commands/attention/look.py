# SPDX-License-Identifier: Apache-2.0
"""Runs a model on one text and collects its attention maps and token probabilities.

Shape letters: P positions that predict, V vocabulary or labels, L layers, B batch of 1, N heads, Q queries, K keys,
S input tokens, T target tokens.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.commands.attention.contents import Candidate, Contents, Map, Step
from t5x_lite.commands.attention.readings import Reading, make_reading
from t5x_lite.commands.attention.token_names import Names, token_names
from t5x_lite.config.commands import AttentionConfig
from t5x_lite.model.attention_maps import AttentionMaps, attention_maps

MAX_WEIGHTS = 24_000_000  # one byte each, 32 MB of base64 in the page

_run = jax.jit(attention_maps)


class _Selection(NamedTuple):
    """Indices of the layers and heads to show; empty for a stack the model lacks."""

    encoder_layers: tuple[int, ...]
    decoder_layers: tuple[int, ...]
    heads: tuple[int, ...]


def look_at(pretrained: Pretrained, options: AttentionConfig) -> Contents:
    """Returns the attention maps and probabilities of the text and target in the options."""
    architecture, traits = pretrained.architecture, pretrained.architecture.traits
    architecture.check_predicts()
    selection = _select(pretrained, options)
    names = token_names(pretrained.tokenizer)
    reading = make_reading(pretrained, options, names)
    _check_size(reading, selection, has_both=traits.fills_spans)
    outputs = jax.tree.map(np.asarray, _run(pretrained.model, reading.inputs, reading.second))
    logits_PV = outputs.logits.reshape(-1, outputs.logits.shape[-1])[reading.place_P]
    chosen_P = reading.chosen_P
    if chosen_P is None:
        chosen_P = np.argmax(logits_PV[:, : len(reading.names)], axis=-1)
    predicts = dict(zip(reading.place_P.tolist(), (reading.names[int(i)] for i in chosen_P), strict=True))
    predicting = reading.second if traits.fills_spans else reading.inputs
    contents = Contents(
        title=f"Attention of {options.checkpoint} ({architecture.name}, step {pretrained.step:,})",
        facts={"text": options.text},
        maps=_maps(outputs, reading, selection, names=names, predicts=predicts),
        steps=_steps(logits_PV, chosen_P, reading, reads=_named(predicting, names), top=options.top),
    )
    output = pretrained.tokenizer.decode(chosen_P) if traits.labels_per is None else " ".join(predicts.values())
    contents.facts["chosen by the model" if options.target is None else "target"] = output
    return contents


def _select(pretrained: Pretrained, options: AttentionConfig) -> _Selection:
    cfg, traits = pretrained.config, pretrained.architecture.traits
    encoder_depth = cfg.num_encoder_layers if traits.has_encoder else 0
    decoder_depth = cfg.num_decoder_layers if traits.decodes else 0
    depth = max(encoder_depth, decoder_depth)
    for field, count in (("layers", depth), ("heads", cfg.num_heads)):
        chosen = getattr(options, field)
        if chosen is not None and max(chosen) >= count:
            raise ValueError(
                f"--{field} is {list(chosen)}, but this model has {count}, numbered from 0: use numbers below {count}"
            )
    layers = tuple(range(depth)) if options.layers is None else options.layers
    return _Selection(
        encoder_layers=tuple(layer for layer in layers if layer < encoder_depth),
        decoder_layers=tuple(layer for layer in layers if layer < decoder_depth),
        heads=tuple(range(cfg.num_heads)) if options.heads is None else options.heads,
    )


def _check_size(reading: Reading, selection: _Selection, *, has_both: bool) -> None:
    S, num_encoder, num_decoder = reading.inputs.shape[1], *map(len, selection[:2])
    pairs = (num_encoder + num_decoder) * S * S
    if has_both and reading.second is not None:
        T = reading.second.shape[1]
        pairs = num_encoder * S * S + num_decoder * (T * T + T * S)
    if pairs * len(selection.heads) > MAX_WEIGHTS:
        raise ValueError(
            f"--text and target make {pairs * len(selection.heads):,} weights, but at most {MAX_WEIGHTS:,} can be "
            "shown: choose some with --layers or --heads, such as --layers [0, 11], or shorten --text"
        )


def _maps(
    outputs: AttentionMaps, reading: Reading, selection: _Selection, *, names: Names, predicts: Mapping[int, str]
) -> tuple[Map, ...]:
    has_both, (encoder_layers, decoder_layers, heads) = outputs.cross_LBNTS is not None, selection
    inputs = _named(reading.inputs, names)
    targets = _named(reading.second, names) if has_both else inputs
    stacks = (
        ("encoder self-attention", outputs.encoder_LBNSS, encoder_layers, inputs, inputs),
        ("decoder self-attention", outputs.decoder_LBNTT, decoder_layers, targets, targets),
        ("cross-attention", outputs.cross_LBNTS, decoder_layers, targets, inputs),
    )
    maps = []
    for name, weights_LBNQK, layers, queries, keys in stacks:
        if weights_LBNQK is None or not layers:
            continue
        is_predicting = not (has_both and name.startswith("encoder"))
        predicted = tuple(predicts.get(place, "") if is_predicting else "" for place in range(len(queries)))
        weights_LNQK = np.asarray(weights_LBNQK)[:, 0][np.ix_(layers, heads)]
        maps.append(Map(name, weights_LNQK, layers, heads, queries, keys, predicted))
    return tuple(maps)


def _named(ids_1T: np.ndarray | None, names: Names) -> tuple[str, ...]:
    assert ids_1T is not None
    return tuple(names[int(i)] for i in ids_1T[0])


def _steps(
    logits_PV: np.ndarray, chosen_P: np.ndarray, reading: Reading, *, reads: tuple[str, ...], top: int
) -> tuple[Step, ...]:
    # Normalised over all rows of the embedding, as in the loss; padding rows are never candidates.
    exp_PV = np.exp(logits_PV.astype(np.float64) - logits_PV.max(axis=-1, keepdims=True))
    probabilities_PV = exp_PV / exp_PV.sum(axis=-1, keepdims=True)
    steps = []
    for place, chosen, probabilities_V in zip(reading.place_P.tolist(), chosen_P, probabilities_PV, strict=True):
        best = np.argsort(-probabilities_V[: len(reading.names)], kind="stable")[:top]
        first, *candidates = [Candidate(reading.names[int(i)], float(probabilities_V[i])) for i in (chosen, *best)]
        steps.append(Step(place, reads[place] if place >= 0 else "", first, tuple(candidates)))
    return tuple(steps)
