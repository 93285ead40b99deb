# SPDX-License-Identifier: Apache-2.0
"""Statistics of a run's text, as seen in training; `--json` prints the fields of `Statistics`.

Shape letters: E examples.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from t5x_lite.commands.data_stats.lengths import (
    QUANTILE,
    Candidate,
    Cut,
    Lengths,
    Padding,
    Recommended,
    candidates,
    cut_off,
    describe_lengths,
    padding,
    padding_by_packing,
    recommend,
    side_lengths,
)
from t5x_lite.commands.data_stats.timing import Making, Timings
from t5x_lite.config import DataConfig, TaskConfig
from t5x_lite.data.converters import Batch, encoder_decoder
from t5x_lite.data.corpus.manifest import in_words, read_manifest
from t5x_lite.data.corpus.open import CORPUS, Corpora, Corpus, Split, corpus_directory
from t5x_lite.data.dataset import ExampleSpec, RunExamples, make_examples
from t5x_lite.data.examples import Chunks, Examples, unpacked
from t5x_lite.data.mixing import Mixed, example_rates
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.packing import PackedPairs, packed_lengths
from t5x_lite.data.pairs import Pairs, pair_lengths
from t5x_lite.data.pipeline import eval_batches, train_batches
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.training.epochs import with_num_steps
from t5x_lite.training.logging import Stopwatch
from t5x_lite.training.resolve import Run

SINGLE = "task"  # name of the task if there is no mixture
SAMPLED_STRETCHES, STRETCH_LENGTH = 64, 2_048  # decoded to count bytes and unknown tokens
MEASURED_ROWS = 1_024  # rows made to measure batches
FEATURES = ("encoder_input_tokens", "decoder_target_tokens")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
    """Measurements of a few batches made in one process."""

    num_batches: int
    padding: Padding
    seconds: float
    examples_per_second: float
    tokens_per_second: float  # inputs and targets, without padding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """The training or the held-out split of a task."""

    num_examples: int  # documents or pairs
    num_characters: int
    num_characters_is_estimate: bool  # from the tokens, if the splits share one count
    num_tokens: int  # without EOS
    characters_per_token: float
    bytes_per_token: float  # of UTF-8, from a decoded sample
    unknown_share: float  # fraction of unknown tokens in the same sample
    lengths: dict[str, Lengths]  # of `documents`, or of `inputs` and `targets`
    cut: dict[str, Cut]  # truncation of `inputs` and `targets`; empty for text, which is chunked
    num_rows: int  # per epoch, packed as configured
    padding: dict[str, Padding]  # by packing method for pairs; `batches` for text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a run."""

    source: str  # description of the source
    what: str  # documents or pairs
    objective: str | None  # None for pairs
    chunk_lengths: list[int]  # tokens per row, for each denoiser; empty for pairs
    inputs_length: int  # per row
    targets_length: int  # per row
    train: Side
    eval: Side
    num_short: int  # dropped documents under `task.min_characters`, or pairs with an empty side
    num_skipped: int  # bad records and files
    first_skipped: str | None  # error of the first one
    rate: float  # fraction of the run's examples
    num_steps_per_epoch: float  # to see the whole task once
    num_epochs: float  # in `train.num_steps`
    recommended: Recommended | None  # lengths and packing; None for text
    targets_lengths: list[Candidate]  # values of `train.targets_length` for best_fit; empty for text
    recommended_targets_length: int | None  # that of `recommended`
    making: Making | None  # None if the text was prepared before
    batches: Batches  # of this task alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """The text of a run."""

    inputs_length: int  # `train.inputs_length`
    targets_length: int | None  # `train.targets_length` or a recommended one; None leaves it to the objective
    targets_length_is_recommended: bool
    batch_size: int  # `train.batch_size`
    packing: str  # `data.packing`
    num_steps: int  # `train.num_steps`
    tasks: dict[str, Task]  # by name; `task` if there is no mixture
    num_rows: int  # per epoch, over all tasks
    num_steps_per_epoch: float
    batches: Batches  # of all tasks, as mixed in training
    vocabulary_s: float | None  # time to load or train a vocabulary; None if the text was prepared before
    checking_s: float  # time to open the text and verify its checksums


def measure(run: Run, corpora: Corpora, timings: Timings, quantile: float = QUANTILE) -> Statistics:
    """Returns the statistics of a run, and recommends lengths that hold a quantile of the examples whole."""
    cfg, architecture = run.config, run.examples.architecture
    how = {"has_labels": bool(architecture.labels), "joined": architecture.keeps_eos}
    advice = {
        name: recommend(pair_lengths(corpus.train.ends_EF), quantile, **how)
        for name, corpus in corpora.items()
        if corpus.has_pairs
    }
    spec = with_targets_length(run.examples, corpora, advice)
    examples = make_examples(spec, corpora)
    if cfg.train.num_epochs is not None:
        run = with_num_steps(run, examples)
        cfg = run.config
    tasks = {
        name or SINGLE: _task(name, run, corpus, examples, advice.get(name), timings)
        for name, corpus in corpora.items()
    }
    if run.tasks.whole.mixture is None:
        batches = tasks[SINGLE].batches
    else:
        batches = measure_batches(examples.train, cfg.train.batch_size, cfg.data)
    return Statistics(
        inputs_length=cfg.train.inputs_length,
        targets_length=spec.targets_length,
        targets_length_is_recommended=spec.targets_length != cfg.train.targets_length,
        batch_size=cfg.train.batch_size,
        packing=cfg.data.packing,
        num_steps=cfg.train.num_steps,
        tasks=tasks,
        num_rows=len(examples.train),
        num_steps_per_epoch=len(examples.train) / cfg.train.batch_size,
        batches=batches,
        vocabulary_s=timings.vocabulary_s,
        checking_s=timings.checking_s,
    )


def with_targets_length(spec: ExampleSpec, corpora: Corpora, advice: Mapping[str, Recommended]) -> ExampleSpec:
    """Returns the spec with a missing `targets_length` set to the longest that any task needs.

    Leaves it None if `advice`, the recommendation for each task with targets, has no length of targets.
    """
    needed = [lengths.targets_length for lengths in advice.values() if lengths.targets_length is not None]
    if spec.targets_length is not None or not needed:
        return spec
    for corpus in corpora.values():
        if not corpus.has_pairs:
            lengths = {"inputs_length": spec.inputs_length, "targets_length": None}
            mixture = make_objectives(corpus.task, corpus.tokenizer, **lengths, seed=spec.seed)
            needed += [objective.targets_length for _, objective in mixture]
    return dataclasses.replace(spec, targets_length=max(needed))


def _task(
    name: str, run: Run, corpus: Corpus, examples: RunExamples, advice: Recommended | None, timings: Timings
) -> Task:
    cfg, task, rows, held_out = run.config, corpus.task, examples.tasks[name], examples.eval[name]
    directory = corpus_directory(pathlib.Path(cfg.run_dir) / CORPUS, name, task)
    manifest = read_manifest(directory)
    batches = measure_batches(rows, cfg.train.batch_size, cfg.data)
    num_steps = len(rows) / _row_share(name, examples) / cfg.train.batch_size
    counts = {known: len(unpacked(those)) for known, those in examples.tasks.items()}
    return Task(
        source=_source(manifest, task),
        what="pairs" if corpus.has_pairs else "documents",
        objective=None if corpus.has_pairs else task.objective,
        chunk_lengths=[part.objective.chunk_length for part in _parts(rows) if isinstance(part, Chunks)],
        inputs_length=rows.inputs_length,
        targets_length=rows.targets_length,
        train=_side(corpus, "train", rows, manifest, _train_padding(rows, run.examples, batches)),
        eval=_side(corpus, "eval", held_out, manifest, _held_out_padding(held_out, cfg.train.batch_size)),
        num_short=manifest["num_short"],
        num_skipped=manifest["num_skipped"],
        first_skipped=next((message for part in manifest["parts"] for message in part["first_skipped"]), None),
        rate=example_rates(run.tasks.whole, counts)[name],
        num_steps_per_epoch=num_steps,
        num_epochs=cfg.train.num_steps / num_steps,
        recommended=advice,
        targets_lengths=_candidates(
            corpus, cfg.train.inputs_length, advice, joined=run.examples.architecture.keeps_eos
        ),
        recommended_targets_length=advice.targets_length if advice else None,
        making=timings.making.get(str(directory)),
        batches=batches,
    )


def _candidates(corpus: Corpus, inputs_length: int, advice: Recommended | None, *, joined: bool) -> list[Candidate]:
    if advice is None or advice.targets_length is None:
        return []
    lengths_E2 = pair_lengths(corpus.train.ends_EF)
    return candidates(lengths_E2, inputs_length, quantile=advice.quantile, joined=joined)


def _side(corpus: Corpus, name: str, rows: Examples, manifest: Mapping[str, Any], paddings: dict[str, Padding]) -> Side:
    split: Split = getattr(corpus, name)
    num_characters, is_exact = num_characters_of(manifest, name)
    bytes_per_character, unknown_share = decoded_sample(split, corpus.tokenizer)
    characters_per_token = num_characters / max(len(split.tokens), 1)
    lengths = side_lengths(split.ends_EF)
    limits = {"inputs": rows.inputs_length, "targets": rows.targets_length} if corpus.has_pairs else {}
    return Side(
        num_examples=split.num_documents,
        num_characters=num_characters,
        num_characters_is_estimate=not is_exact,
        num_tokens=len(split.tokens),
        characters_per_token=characters_per_token,
        bytes_per_token=characters_per_token * bytes_per_character,
        unknown_share=unknown_share,
        lengths={side: describe_lengths(lengths_E) for side, lengths_E in lengths.items()},
        cut={side: cut_off(lengths[side], limit) for side, limit in limits.items()},
        num_rows=len(rows),
        padding=paddings,
    )


def num_characters_of(manifest: Mapping[str, Any], split: str) -> tuple[int, bool]:
    """Returns the number of characters in a split, and whether it is exact.

    A source divided into both splits has one count, which is split in proportion to the tokens.
    """
    total, is_exact = 0.0, True
    for part in manifest["parts"]:
        tokens = {name: counts["num_tokens"] for name, counts in part["splits"].items()}
        if split in tokens:
            total += part["num_characters"] * tokens[split] / max(sum(tokens.values()), 1)
            is_exact = is_exact and tokens[split] in (0, sum(tokens.values()))
    return round(total), is_exact


def decoded_sample(split: Split, tokenizer: Tokenizer) -> tuple[float, float]:
    """Returns UTF-8 bytes per character and the fraction of unknown tokens, in a sample spread over the text."""
    num_ids = len(split.tokens)
    if num_ids <= SAMPLED_STRETCHES * STRETCH_LENGTH:
        begins, ends = np.array([0]), np.array([num_ids])
    else:
        begins = np.arange(SAMPLED_STRETCHES) * (num_ids - STRETCH_LENGTH) // (SAMPLED_STRETCHES - 1)
        ends = begins + STRETCH_LENGTH
    sampled = split.tokens.read(begins, ends)
    text = "".join(tokenizer.decode_batch(sampled))
    num_unknown = sum(np.count_nonzero(ids == tokenizer.unk_id) for ids in sampled)
    return len(text.encode()) / max(len(text), 1), num_unknown / max(sum(map(len, sampled)), 1)


def _train_padding(rows: Examples, spec: ExampleSpec, batches: Batches) -> dict[str, Padding]:
    """Returns the padding of training rows: by packing method for pairs, of batches for text."""
    pairs = unpacked(rows)
    if not isinstance(pairs, Pairs):
        return {"batches": dataclasses.replace(batches.padding, num_rows=len(rows))}
    capacity, joined = (pairs.inputs_length, pairs.targets_length), spec.architecture.keeps_eos
    paddings = padding_by_packing(pairs.lengths(), capacity, joined=joined)
    if rows is not pairs:  # already packed, so exact
        paddings[spec.packing] = padding(*packed_lengths(pairs.cut_lengths(), capacity, joined=joined), len(rows))
    return paddings


def _held_out_padding(rows: Examples, batch_size: int) -> dict[str, Padding]:
    """Returns the padding of held-out rows, which are never packed."""
    if isinstance(rows, Pairs):
        return {"unpacked": padding(rows.cut_lengths(), (rows.inputs_length, rows.targets_length), len(rows))}
    return {"batches": dataclasses.replace(held_out_padding(rows, batch_size), num_rows=len(rows))}


def measure_batches(examples: Examples, batch_size: int, data: DataConfig) -> Batches:
    """Makes a few training batches in this process and measures them."""
    num_batches = -(-min(MEASURED_ROWS, len(examples)) // batch_size)
    data = dataclasses.replace(data, num_workers=0)
    watch = Stopwatch()
    convert = functools.partial(encoder_decoder, pad_id=examples.pad_id)
    stream = train_batches(examples, batch_size=batch_size, data=data, convert=convert)
    made = list(itertools.islice(stream, num_batches))
    seconds = watch.lap()
    stream.close()
    num_tokens = sum(np.count_nonzero(batch[name] != examples.pad_id) for batch in made for name in FEATURES)
    return Batches(
        num_batches=num_batches,
        padding=padding_of(made, examples.pad_id, joined=any(map(_is_joined, _parts(examples)))),
        seconds=seconds,
        examples_per_second=sum(map(num_examples_of, made)) / seconds,
        tokens_per_second=num_tokens / seconds,
    )


def _parts(examples: Examples) -> list[Examples]:
    return examples.members if isinstance(examples, Mixed) else [examples]


def _is_joined(examples: Examples) -> bool:
    return isinstance(examples, PackedPairs) and examples.joined


def held_out_padding(examples: Examples, batch_size: int) -> Padding:
    """Returns the padding of evenly spaced held-out rows."""
    size = min(batch_size, len(examples))  # so that no batch is padded with rows of zeros
    num_batches = max(min(MEASURED_ROWS, len(examples)) // size, 1)
    return padding_of(eval_batches(examples, batch_size=size, num_batches=num_batches), examples.pad_id)


def padding_of(batches: Iterable[Batch], pad_id: int, *, joined: bool = False) -> Padding:
    """Returns the padding of batches of an encoder-decoder; `joined` is that of `PackedPairs`."""
    batches = list(batches)
    inputs_BS, targets_BT = (np.concatenate([batch[name] for batch in batches]) for name in FEATURES)
    lengths_B2 = np.stack([np.count_nonzero(ids != pad_id, axis=1) for ids in (inputs_BS, targets_BT)], axis=1)
    if joined:  # the two share as many places as each has
        return padding(lengths_B2.sum(axis=1, keepdims=True), [inputs_BS.shape[1]], len(lengths_B2))
    return padding(lengths_B2, (inputs_BS.shape[1], targets_BT.shape[1]), len(lengths_B2))


def num_examples_of(batch: Batch) -> int:
    """Returns the number of examples in a batch, packed or not."""
    if "encoder_segment_ids" in batch:
        return int(batch["encoder_segment_ids"].max(axis=1).sum())
    return len(batch[FEATURES[0]])


def _row_share(name: str, examples: RunExamples) -> float:
    """Returns a task's fraction of the rows of an epoch."""
    if len(examples.tasks) == 1:
        return 1.0
    assert isinstance(examples.train, Mixed)
    return int(examples.train.count_M[list(examples.tasks).index(name)]) / len(examples.train)


def _source(manifest: Mapping[str, Any], task: TaskConfig) -> str:
    """Describes the source of a text, as recorded in its manifest when it was prepared."""
    names = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in manifest["task"].items()
        if field in ("source", "eval_source", "packages")
    }
    return in_words(dataclasses.replace(task, **names))
