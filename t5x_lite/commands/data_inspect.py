# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite data inspect`: prints training examples as text, with corrupted spans marked, and as model features."""

import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

from t5x_lite.config import RunConfig
from t5x_lite.config.architectures import ENCODER_DECODER
from t5x_lite.data.converters import Batch, make_converter
from t5x_lite.data.corpus.first_look import check_text
from t5x_lite.data.corpus.open import Corpora, is_prepared, tokenizer_of
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import make_examples
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.tokenizers import Tokenizer, trim
from t5x_lite.training.resolve import Run, resolve_run
from t5x_lite.training.run_dir import RunDirectory

OPEN, CLOSE = "\u27e6", "\u27e7"  # double brackets, rare in text


def run(cfg: RunConfig, *, num_examples: int = 3, start: int = 0, as_json: bool = False) -> None:
    """Prints examples in training order, after skipping `start` rows.

    Missing text is prepared in `run_dir`, where training will reuse it.
    """
    run = resolve_run(cfg)
    corpora = open_corpora(run)
    for example in itertools.islice(first_examples(run, corpora, start), num_examples):
        print(json.dumps(example, ensure_ascii=False) if as_json else described(example))


def open_corpora(run: Run) -> Corpora:
    """Opens the text in a run directory, which may be in use by a training run, or prepares it."""
    path = pathlib.Path(run.config.run_dir)
    if is_prepared(run.tasks, path):
        return prepare_corpora(run.tasks, path)
    check_text(run.tasks)
    with RunDirectory(path) as directory:
        return prepare_corpora(run.tasks, directory.path, announce=lambda stage: print(stage, file=sys.stderr))


def first_examples(run: Run, corpora: Corpora, start: int) -> Iterator[dict]:
    """Yields training examples from row `start` on, as texts and ids by name."""
    tokenizer = tokenizer_of(corpora)
    data = dataclasses.replace(run.config.data, num_workers=0)
    examples = make_examples(run.examples, corpora)
    batches = train_batches(examples.train, batch_size=1, data=data, convert=dict, start_example=start)
    spec = run.examples
    as_encoder_decoder = make_converter(ENCODER_DECODER, spec.tasks.each, tokenizer, start_id=spec.start_id)
    for number, rows in zip(itertools.count(start), batches, strict=False):
        features = {}
        if spec.architecture != ENCODER_DECODER:
            features = {"features": {name: ids[0].tolist() for name, ids in examples.convert(rows).items()}}
        for example in shown(as_encoder_decoder(rows), tokenizer):
            yield {"example": number} | example | features


def shown(batch: Batch, tokenizer: Tokenizer) -> Iterator[dict]:
    """Yields each example in the first row of a batch, as texts and ids without padding."""
    row = {name: ids[0] for name, ids in batch.items()}
    lengths = {"inputs_length": len(row["encoder_input_tokens"]), "targets_length": len(row["decoder_target_tokens"])}
    if "encoder_segment_ids" not in row:
        yield _shown(row, tokenizer) | lengths
        return
    num_segments = int(row["encoder_segment_ids"].max())
    for segment in range(1, num_segments + 1):
        part = {name: ids[row[f"{name.split('_')[0]}_segment_ids"] == segment] for name, ids in row.items()}
        yield {"segment": f"{segment} of {num_segments}"} | _shown(part, tokenizer) | lengths


def _shown(row: Batch, tokenizer: Tokenizer) -> dict:
    names = ("encoder_input_tokens", "decoder_target_tokens")
    (inputs, _), (targets, _) = (trim(row[name], pad_id=tokenizer.pad_id) for name in names)
    weights = row["decoder_loss_weights"][: len(targets)]
    predicted = None if weights.all() else [tokenizer.decode([i]) for i, w in zip(targets, weights, strict=True) if w]
    has_blanks = tokenizer.num_sentinels > 0 and tokenizer.sentinel_id(0) in inputs
    return {
        "text": marked_text(inputs, targets, tokenizer) if has_blanks else None,
        "inputs": tokenizer.decode(inputs),
        "targets": tokenizer.decode(targets),
        "predicted": predicted,
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": row["decoder_input_tokens"][: len(targets)].tolist(),
        "decoder_target_tokens": targets,
    }


def marked_text(inputs: Sequence[int], targets: Sequence[int], tokenizer: Tokenizer) -> str:
    """Returns the inputs with each sentinel replaced by its span from the targets, in double brackets."""
    spans = _spans(targets, tokenizer)
    ids, marks = [], []
    for i in inputs:
        number = len(marks)
        if number < len(spans) and i == tokenizer.sentinel_id(number):
            marks.append((len(ids), len(ids) + len(spans[number])))
            ids += spans[number]
        elif i != tokenizer.eos_id:
            ids.append(i)
    # Spaces depend on the preceding pieces, so positions in the text are found by decoding everything before them.
    text, done, marked = tokenizer.decode(ids), 0, ""
    for begin, end in marks:
        begin, end = (len(tokenizer.decode(ids[:place])) for place in (begin, end))
        marked += text[done:begin] + OPEN + text[begin:end] + CLOSE
        done = end
    return marked + text[done:]


def _spans(targets: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """Splits the targets into the spans after <extra_id_0>, <extra_id_1> and so on."""
    spans: list[list[int]] = []
    for i in targets:
        if len(spans) < tokenizer.num_sentinels and i == tokenizer.sentinel_id(len(spans)):
            spans.append([])
        elif spans and i != tokenizer.eos_id:
            spans[-1].append(i)
    return spans


def described(example: dict) -> str:
    """Formats an example as lines of text."""
    inputs, targets = example["encoder_input_tokens"], example["decoder_target_tokens"]
    segment = f", {example['segment']} in its row" if "segment" in example else ""
    lines = [f"== example {example['example']}{segment}"]
    if example["text"] is not None:
        lines.append(f"text     {example['text']}")
    lines += [f"inputs   {example['inputs']}", f"targets  {example['targets']}"]
    if example["predicted"] is not None:
        lines.append(f"predicted {' | '.join(example['predicted'])}")
    if "features" in example:  # of the whole row, for architectures other than encoder-decoder
        return "\n".join(lines + [f"{name}: {_ids(ids)}" for name, ids in example["features"].items()]) + "\n"
    lines.append(f"encoder input, {len(inputs)} of {example['inputs_length']} places: {_ids(inputs)}")
    places = f"{len(targets)} of {example['targets_length']} places"
    lines.append(f"decoder input, {places}: {_ids(example['decoder_input_tokens'])}")
    lines.append(f"decoder target, {places}: {_ids(targets)}")
    return "\n".join(lines) + "\n"


def _ids(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))
