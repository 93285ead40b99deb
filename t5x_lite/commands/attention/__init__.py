# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite attention`: what a model attends to in one example, and how probable it finds what it predicts there.

Shape letters: B batch, which is 1 here; S input tokens, T target tokens, P places that predict, V vocabulary or
labels; L layers, N heads, Q queries, K keys.
"""

import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.commands.attention.chart import can_draw, check_can_draw, png
from t5x_lite.commands.attention.contents import Candidate, Contents, Map, Step
from t5x_lite.commands.attention.page import page
from t5x_lite.config import AttentionConfig
from t5x_lite.config.architectures import Traits
from t5x_lite.data.labels import Words
from t5x_lite.data.tokenizers import ByteTokenizer, Tokenizer
from t5x_lite.data.tokenizers.base import EOS_ID, PAD_ID, SENTINEL_PATTERN, UNK_ID
from t5x_lite.data.tokenizers.bytes import FIRST_BYTE
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.inference.loop import START_ID, greedy_ids
from t5x_lite.model.attention_maps import AttentionMaps, attention_maps

MAX_TOKENS = 512  # of a text or a target: more cannot be told apart on a page
MAX_WEIGHTS = 24_000_000  # a byte each: a page of 32 MB
WIDTH = 200  # of the table where no terminal says how wide it is
WHITE_SPACE = {" ": "\u2581", "\n": "\u23ce", "\t": "\u21e5"}
SPECIAL = {PAD_ID: "<pad>", EOS_ID: "</s>", UNK_ID: "<unk>"}
NOT_TEXT, NO_UTF8 = "\ufffd", 245  # what stands for a byte that is no character; the first byte UTF-8 never has

Names = Sequence[str]  # by id


class Reading(NamedTuple):
    """What a model is given, and where it predicts what.

    Args:
      inputs: ids, [1, S]; of a decoder alone [1, T].
      second: the second argument of `attention_maps`.
      place_P: positions that predict; of a sequence classifier, which has one prediction for all, -1.
      chosen_P: what they are asked to predict; None is what is most probable.
      names: of what can be predicted, V of them or fewer.
    """

    inputs: np.ndarray
    second: np.ndarray | None
    place_P: np.ndarray
    chosen_P: np.ndarray | None
    names: Names


def run(options: AttentionConfig) -> None:
    """Writes the page and the picture, prints the probabilities.

    Raises:
      ValueError: if the checkpoint cannot be read, the text is too long to be shown, the target is none, or a picture
        is asked for without matplotlib.
      OSError: if a file cannot be written.
    """
    page_path, picture_path = output_paths(options.output)
    pretrained = load(options.checkpoint)
    contents = look(pretrained, options)
    files = []
    if page_path is not None:
        write_atomically(page_path, page(contents))
        files.append(str(page_path))
    if picture_path is not None and (can_draw() or page_path is None):
        write_atomically(picture_path, png(contents))
        files.append(str(picture_path))
    if options.json:
        print(json.dumps(_as_json(contents, pretrained, options, files), ensure_ascii=False))
        return
    _print_table(contents)
    print(f"wrote {' and '.join(files)}")
    if picture_path is not None and str(picture_path) not in files:
        print(f"left {picture_path} out: matplotlib is not installed (pip install 't5x-lite[plot]')")


def output_paths(output: str) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    """Returns where the page and the picture go; None where one is not asked for.

    Raises:
      ValueError: if a picture alone is asked for, and cannot be drawn; or the directory does not exist.
    """
    path = pathlib.Path(output)
    if not path.parent.is_dir():
        raise ValueError(f"--output {output} is in a directory that does not exist: make it, or name another file")
    if path.suffix == ".html":
        return path, None
    if path.suffix == ".png":
        check_can_draw(path)
        return None, path
    # Not with_suffix: a name may have dots.
    return path.with_name(path.name + ".html"), path.with_name(path.name + ".png")


def look(pretrained: Pretrained, options: AttentionConfig) -> Contents:
    """Runs a model on one example and returns what there is to show.

    Args:
      pretrained: what `load` returns.
      options: where the files go means nothing here.

    Raises:
      ValueError: if the text or the target does not suit the model, or is too long to be shown.
    """
    kind, traits = pretrained.architecture.name, pretrained.architecture.traits
    shown = _shown(pretrained, options)
    reading = _reader(traits)(pretrained, options)
    _check_size(reading, shown, has_both=traits.has_encoder and traits.decodes)
    found = jax.tree.map(np.asarray, _run(pretrained.model, reading.inputs, reading.second))
    logits_PV = found.logits.reshape(-1, found.logits.shape[-1])[reading.place_P]
    chosen_P = reading.chosen_P
    if chosen_P is None:
        chosen_P = np.argmax(logits_PV[:, : len(reading.names)], axis=-1)
    predicts = dict(zip(reading.place_P.tolist(), (reading.names[int(i)] for i in chosen_P), strict=True))
    names = token_names(pretrained.tokenizer)
    maps = _maps(found, reading, shown, names=names, predicts=predicts)
    predicting = reading.inputs if found.cross_LBNTS is None else reading.second
    reads = dict(enumerate(_named(predicting, names)))
    steps = _steps(logits_PV, chosen_P, reading, reads=reads, top=options.top)
    answer = pretrained.tokenizer.decode(chosen_P) if traits.labels_per is None else " ".join(predicts.values())
    facts = {"text": options.text, "chosen by the model" if options.target is None else "target": answer}
    title = f"Attention of {options.checkpoint} ({kind}, step {pretrained.step:,})"
    return Contents(title, facts, maps, steps)


_run = jax.jit(attention_maps)


def token_names(tokenizer: Tokenizer) -> Names:
    """Returns how each id is shown: white space as signs, what cannot be printed by its number."""
    names = []
    for i, surface in enumerate(tokenizer.surfaces()):
        name = "".join(map(_visible, surface))
        byte = i - FIRST_BYTE if isinstance(tokenizer, ByteTokenizer) else NO_UTF8
        if i in SPECIAL:
            name = SPECIAL[i]
        elif surface == NOT_TEXT and byte < NO_UTF8:
            name = f"<0x{byte:02X}>"
        elif surface == NOT_TEXT:
            name = tokenizer.decode([i]) or NOT_TEXT
        elif sentinel := SENTINEL_PATTERN.fullmatch(name):
            name = f"<extra_id_{sentinel[1]}>"
        names.append(name or f"<id {i}>")
    return names


def _visible(character: str) -> str:
    if character in WHITE_SPACE:
        return WHITE_SPACE[character]
    return character if character.isprintable() else f"<0x{ord(character):02X}>"


def _encoder_decoder(pretrained: Pretrained, options: AttentionConfig) -> Reading:
    tokenizer = pretrained.tokenizer
    inputs_1S = np.asarray([_encoded(tokenizer, "--text", options.text)], np.int32)
    targets_T = _targets(pretrained, options, inputs_1S)
    decoder_inputs_1T = np.concatenate([[START_ID], targets_T[:-1]])[None].astype(np.int32)
    return Reading(inputs_1S, decoder_inputs_1T, np.arange(len(targets_T)), targets_T, token_names(tokenizer))


def _decoder(pretrained: Pretrained, options: AttentionConfig) -> Reading:
    tokenizer, sees_prefix = pretrained.tokenizer, pretrained.architecture.traits.sees_prefix
    inputs_1S = np.asarray([_encoded(tokenizer, "--text", options.text)], np.int32)
    targets_T = _targets(pretrained, options, inputs_1S)
    first = inputs_1S.shape[1] - 1  # the prompt's last token, before EOS, predicts the target's first
    read_T = np.concatenate([[START_ID], inputs_1S[0, :first], targets_T[:-1]])[None].astype(np.int32)
    prefix_1T = (np.arange(read_T.shape[1]) <= first)[None].astype(np.int32) if sees_prefix else None
    return Reading(read_T, prefix_1T, first + np.arange(len(targets_T)), targets_T, token_names(tokenizer))


def _targets(pretrained: Pretrained, options: AttentionConfig, inputs_1S: np.ndarray) -> np.ndarray:
    """Returns the ids of the target, or what the model decodes."""
    tokenizer = pretrained.tokenizer
    if options.target is not None:
        return np.asarray(_encoded(tokenizer, "--target", options.target), np.int32)
    decoded_1T = greedy_ids(
        pretrained.model, pretrained.architecture, inputs_1S, tokenizer, max_new_tokens=options.max_new_tokens
    )
    return _until_eos(decoded_1T[0], tokenizer.eos_id)


def _masked_lm(pretrained: Pretrained, options: AttentionConfig) -> Reading:
    tokenizer = pretrained.tokenizer
    inputs_1S = np.asarray([_encoded(tokenizer, "--text", options.text)], np.int32)
    place_P = np.flatnonzero(inputs_1S[0] == tokenizer.sentinel_id(0))
    chosen_P = None
    if options.target is not None:
        chosen_P = np.asarray(tokenizer.encode(options.target), np.int32)
        if len(chosen_P) != len(place_P):
            raise ValueError(
                f"--target {options.target!r} has {len(chosen_P)} tokens, and --text hides {len(place_P)} with "
                "<extra_id_0>: give as many, or leave --target out for the most probable ones"
            )
    return Reading(inputs_1S, None, place_P, chosen_P, token_names(tokenizer))


def _sequence_classifier(pretrained: Pretrained, options: AttentionConfig) -> Reading:
    inputs_1S = np.asarray([_encoded(pretrained.tokenizer, "--text", options.text)], np.int32)
    labels = pretrained.architecture.labels
    chosen_P = None if options.target is None else np.asarray([_label(options.target, labels)])
    return Reading(inputs_1S, None, np.asarray([-1]), chosen_P, labels)


def _token_classifier(pretrained: Pretrained, options: AttentionConfig) -> Reading:
    inputs_1S = np.asarray([_encoded(pretrained.tokenizer, "--text", options.text)], np.int32)
    place_P = np.flatnonzero(Words(pretrained.tokenizer).starts(inputs_1S)[0])
    labels, chosen_P = pretrained.architecture.labels, None
    if options.target is not None:
        words = options.target.split()
        if len(words) != len(place_P):
            raise ValueError(
                f"--target {options.target!r} has {len(words)} labels, and --text has {len(place_P)} words: give each "
                "one, or leave --target out for the most probable ones"
            )
        chosen_P = np.asarray([_label(word, labels) for word in words], np.int32)
    return Reading(inputs_1S, None, place_P, chosen_P, labels)


def _reader(traits: Traits) -> Callable[[Pretrained, AttentionConfig], Reading]:
    if traits.decodes:
        return _encoder_decoder if traits.has_encoder else _decoder
    return {None: _masked_lm, "sequence": _sequence_classifier, "token": _token_classifier}[traits.labels_per]


def _label(target: str, labels: Sequence[str]) -> int:
    if target not in labels:
        raise ValueError(f"--target {target!r} is no label of this model: use {', '.join(labels[:20])}")
    return labels.index(target)


def _encoded(tokenizer: Tokenizer, option: str, text: str) -> list[int]:
    """Returns ids and EOS; raises ValueError if they are too many to be shown."""
    ids = [*tokenizer.encode(text), tokenizer.eos_id]
    if len(ids) > MAX_TOKENS:
        raise ValueError(
            f"{option} has {len(ids):,} tokens, EOS included, and at most {MAX_TOKENS} can be shown: shorten it"
        )
    return ids


def _until_eos(tokens_T: np.ndarray, eos_id: int) -> np.ndarray:
    """Returns decoded tokens without what follows EOS."""
    ends = np.flatnonzero(tokens_T == eos_id)
    return tokens_T[: ends[0] + 1] if len(ends) else tokens_T


class _Shown(NamedTuple):
    """Numbers of the layers and heads to show; a stack that the model lacks has no layers."""

    encoder_layers: tuple[int, ...]
    decoder_layers: tuple[int, ...]
    heads: tuple[int, ...]


def _shown(pretrained: Pretrained, options: AttentionConfig) -> _Shown:
    cfg, traits = pretrained.config, pretrained.architecture.traits
    encoder_depth = cfg.num_encoder_layers if traits.has_encoder else 0
    decoder_depth = cfg.num_decoder_layers if traits.decodes else 0
    most = max(encoder_depth, decoder_depth)
    for field, count in (("layers", most), ("heads", cfg.num_heads)):
        chosen = getattr(options, field)
        if chosen is not None and max(chosen) >= count:
            raise ValueError(
                f"--{field} is {list(chosen)}, and this model has {count}, counted from 0: use numbers below {count}"
            )
    layers = tuple(range(most)) if options.layers is None else options.layers
    return _Shown(
        encoder_layers=tuple(layer for layer in layers if layer < encoder_depth),
        decoder_layers=tuple(layer for layer in layers if layer < decoder_depth),
        heads=tuple(range(cfg.num_heads)) if options.heads is None else options.heads,
    )


def _check_size(reading: Reading, shown: _Shown, *, has_both: bool) -> None:
    S, (num_encoder, num_decoder) = reading.inputs.shape[1], (len(shown.encoder_layers), len(shown.decoder_layers))
    pairs = (num_encoder + num_decoder) * S * S
    if has_both and reading.second is not None:
        T = reading.second.shape[1]
        pairs = num_encoder * S * S + num_decoder * (T * T + T * S)
    if pairs * len(shown.heads) > MAX_WEIGHTS:
        raise ValueError(
            f"--text and target make {pairs * len(shown.heads):,} weights, and at most {MAX_WEIGHTS:,} can be shown: "
            "choose some with --layers or --heads, such as --layers [0, 11], or shorten --text"
        )


def _maps(
    found: AttentionMaps, reading: Reading, shown: _Shown, *, names: Names, predicts: Mapping[int, str]
) -> tuple[Map, ...]:
    def one(name: str, weights_LBNQK: Any, layers: tuple[int, ...], ids: tuple, predicts: Mapping[int, str]) -> Map:
        queries, keys = (_named(side, names) for side in ids)
        told = tuple(predicts.get(place, "") for place in range(len(queries)))
        weights_LNQK = weights_LBNQK[:, 0][np.ix_(layers, shown.heads)]
        return Map(name, weights_LNQK, layers, shown.heads, queries, keys, told)

    inputs, second, has_both = reading.inputs, reading.second, found.cross_LBNTS is not None
    maps = []
    if found.encoder_LBNSS is not None:
        of_inputs = {} if has_both else predicts
        weights = found.encoder_LBNSS
        maps.append(one("encoder self-attention", weights, shown.encoder_layers, (inputs, inputs), of_inputs))
    if found.decoder_LBNTT is not None:
        ids = second if has_both else inputs
        maps.append(one("decoder self-attention", found.decoder_LBNTT, shown.decoder_layers, (ids, ids), predicts))
    if has_both:
        maps.append(one("cross-attention", found.cross_LBNTS, shown.decoder_layers, (second, inputs), predicts))
    return tuple(one for one in maps if one.layers)


def _named(ids_BT: np.ndarray | None, names: Names) -> tuple[str, ...]:
    assert ids_BT is not None  # of a model with a decoder
    return tuple(names[int(i)] for i in ids_BT[0])


def _steps(
    logits_PV: np.ndarray, chosen_P: np.ndarray, reading: Reading, *, reads: Mapping[int, str], top: int
) -> tuple[Step, ...]:
    # Of all rows of the embedding, as in the loss; those beyond the tokenizer's ids are never among the best.
    exp_PV = np.exp(logits_PV.astype(np.float64) - logits_PV.max(axis=-1, keepdims=True))
    probabilities_PV = exp_PV / exp_PV.sum(axis=-1, keepdims=True)
    steps = []
    for place, chosen, probabilities_V in zip(reading.place_P, chosen_P, probabilities_PV, strict=True):

        def candidate(i: int, probabilities_V: np.ndarray = probabilities_V) -> Candidate:
            return Candidate(reading.names[int(i)], float(probabilities_V[i]))

        best = np.argsort(-probabilities_V[: len(reading.names)], kind="stable")[:top]
        steps.append(Step(int(place), reads.get(int(place), ""), candidate(chosen), tuple(map(candidate, best))))
    return tuple(steps)


def _print_table(contents: Contents) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False, emoji=False)
    console.print(contents.title, soft_wrap=True)
    for name, fact in contents.facts.items():
        console.print(f"{name}: {fact}", soft_wrap=True)
    console.print()
    if not contents.steps:
        console.print("No token is predicted: hide one in --text with <extra_id_0>.", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("place", "reads", "token", "probability"):
        table.add_column(column, justify="right" if column in ("place", "probability") else "left", no_wrap=True)
    table.add_column("most probable")
    for step in contents.steps:
        best = "  ".join(f"{one.token} {one.probability:.4f}" for one in step.candidates)
        place = str(step.place) if step.place >= 0 else ""
        table.add_row(place, step.reads, step.chosen.token, f"{step.chosen.probability:.4f}", best)
    console.print(table)


def _as_json(contents: Contents, pretrained: Pretrained, options: AttentionConfig, files: list[str]) -> dict[str, Any]:
    steps = [
        {
            "place": step.place if step.place >= 0 else None,
            "reads": step.reads,
            "token": step.chosen.token,
            "probability": step.chosen.probability,
            "candidates": [one._asdict() for one in step.candidates],
        }
        for step in contents.steps
    ]
    maps = [
        {"name": one.name, "layers": one.layers, "heads": one.heads, "queries": one.queries, "keys": one.keys}
        for one in contents.maps
    ]
    about = {"checkpoint": options.checkpoint, "step": pretrained.step, "architecture": pretrained.architecture.name}
    return about | {"facts": contents.facts, "steps": steps, "maps": maps, "files": files}
