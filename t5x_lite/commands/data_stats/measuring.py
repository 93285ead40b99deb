# SPDX-License-Identifier: Apache-2.0
"""Counts and measures the text of a run.

Shape letters: E examples.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.commands.data_stats.batches import held_out_padding, measure_batches
from t5x_lite.commands.data_stats.findings import Side, Statistics, Task
from t5x_lite.commands.data_stats.lengths import (
    Candidate,
    Padding,
    candidates,
    cut_off,
    describe_lengths,
    padding,
    padding_by_packing,
    recommended,
    side_lengths,
)
from t5x_lite.commands.data_stats.stages import Stages
from t5x_lite.config import RunConfig, TaskConfig
from t5x_lite.data.corpus.manifest import in_words, read_manifest
from t5x_lite.data.corpus.open import CORPUS, Corpora, Corpus, Split, corpus_directory
from t5x_lite.data.dataset import RunExamples, make_examples, num_examples
from t5x_lite.data.examples import Chunks, Examples, PackedPairs, Pairs
from t5x_lite.data.mixing import Mixed, example_rates
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import Tokenizer

SINGLE = "task"  # the name of a task that is not in a mixture
SAMPLED_STRETCHES, STRETCH_LENGTH = 64, 2_048  # of ids, that are decoded


def measure(cfg: RunConfig, corpora: Corpora, stages: Stages) -> Statistics:
    """Counts and measures what training sees of some text.

    Args:
      cfg: the run, its task resolved.
      corpora: of its tasks.
      stages: how long they took.

    Raises:
      ValueError: if there is too little text, or `cfg.train` does not fit it.
    """
    tried = {
        name: candidates(_pair_lengths(corpus.train), cfg.train.inputs_length)
        for name, corpus in corpora.items()
        if corpus.has_pairs and cfg.model.traits.labels_per is None  # whose targets are as long as they are
    }
    given = cfg.train.targets_length
    cfg = with_targets_length(cfg, corpora, tried)
    examples = make_examples(cfg, corpora)
    parts = _Parts(cfg, corpora, examples, tried, stages)
    tasks = {name or SINGLE: _task(name, single, parts) for name, single in tasks_of(cfg.task).items()}
    return Statistics(
        inputs_length=cfg.train.inputs_length,
        targets_length=cfg.train.targets_length,
        targets_length_is_recommended=given != cfg.train.targets_length,
        batch_size=cfg.train.batch_size,
        packing=cfg.data.packing,
        num_steps=cfg.train.num_steps,
        tasks=tasks,
        num_rows=len(examples.train),
        num_steps_per_epoch=len(examples.train) / cfg.train.batch_size,
        batches=tasks[SINGLE].batches if cfg.task.mixture is None else measure_batches(examples.train, cfg),
        vocabulary_s=stages.vocabulary_s,
        checking_s=stages.checking_s,
    )


def with_targets_length(cfg: RunConfig, corpora: Corpora, tried: Mapping[str, list[Candidate]]) -> RunConfig:
    """Returns a config whose null `train.targets_length` is, if a task has targets, the longest any task asks for.

    Args:
      cfg: the run.
      corpora: of its tasks.
      tried: of each task with targets, lengths to choose from.
    """
    if cfg.train.targets_length is not None or not tried:
        return cfg
    asked = [recommended(found).targets_length for found in tried.values()]
    for name, single in tasks_of(cfg.task).items():
        if not corpora[name].has_pairs:
            mixture = make_objectives(
                single,
                corpora[name].tokenizer,
                inputs_length=cfg.train.inputs_length,
                targets_length=None,
                seed=cfg.seed,
            )
            asked += [objective.targets_length for _, objective in mixture]
    return dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, targets_length=max(asked)))


class _Parts(NamedTuple):
    """What is known of all tasks."""

    cfg: RunConfig
    corpora: Corpora
    examples: RunExamples
    tried: Mapping[str, list[Candidate]]
    stages: Stages


def _task(name: str, single: TaskConfig, parts: _Parts) -> Task:
    cfg, corpus = parts.cfg, parts.corpora[name]
    rows, held_out = parts.examples.tasks[name], parts.examples.eval[name]
    home = corpus_directory(pathlib.Path(cfg.run_dir) / CORPUS, name, single)
    manifest = read_manifest(home)
    batches = measure_batches(rows, cfg)
    num_steps = len(rows) / _row_share(name, parts.examples) / cfg.train.batch_size
    counts = {known: num_examples(made) for known, made in parts.examples.tasks.items()}
    tried = parts.tried.get(name, [])
    return Task(
        source=_source(manifest, single),
        what="pairs" if corpus.has_pairs else "documents",
        objective=None if corpus.has_pairs else single.objective,
        chunk_lengths=_chunk_lengths(rows),
        inputs_length=rows.inputs_length,
        targets_length=rows.targets_length,
        train=_side(corpus, "train", rows=rows, manifest=manifest, paddings=_padding(rows, cfg, batches.padding)),
        eval=_side(corpus, "eval", rows=held_out, manifest=manifest, paddings=_held_out_padding(held_out, cfg)),
        num_short=manifest["num_short"],
        num_skipped=manifest["num_skipped"],
        first_skipped=next((message for part in manifest["parts"] for message in part["first_skipped"]), None),
        rate=example_rates(cfg.task, counts)[name],
        num_steps_per_epoch=num_steps,
        num_epochs=cfg.train.num_steps / num_steps,
        targets_lengths=tried,
        recommended_targets_length=recommended(tried).targets_length if tried else None,
        making=parts.stages.making.get(str(home)),
        batches=batches,
    )


def _side(
    corpus: Corpus, name: str, *, rows: Examples, manifest: Mapping[str, Any], paddings: dict[str, Padding]
) -> Side:
    """What there is to say of one side of a corpus.

    Args:
      corpus: of a task.
      name: of the side.
      rows: that are made of it.
      manifest: of the corpus.
      paddings: of the rows.
    """
    split = getattr(corpus, name)
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


def num_characters_of(manifest: Mapping[str, Any], side: str) -> tuple[int, bool]:
    """Returns how many characters one side of a corpus has, and whether that is a count.

    Where one source is divided, its characters were counted together: they are divided in proportion to the tokens.

    Args:
      manifest: of the corpus.
      side: train or eval.
    """
    total, is_exact = 0.0, True
    for part in manifest["parts"]:
        tokens = {split: counts["num_tokens"] for split, counts in part["splits"].items()}
        if side in tokens:
            total += part["num_characters"] * tokens[side] / max(sum(tokens.values()), 1)
            is_exact = is_exact and tokens[side] in (0, sum(tokens.values()))
    return round(total), is_exact


def decoded_sample(split: Split, tokenizer: Tokenizer) -> tuple[float, float]:
    """Returns the bytes of UTF-8 a character and the share of unknown tokens in a sample spread over all of a text."""
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


def _padding(rows: Examples, cfg: RunConfig, of_batches: Padding) -> dict[str, Padding]:
    """The padding of what is learned from; `of_batches` is that of some of its batches."""
    pairs = rows.pairs if isinstance(rows, PackedPairs) else rows
    if not isinstance(pairs, Pairs):
        return {"batches": dataclasses.replace(of_batches, num_rows=len(rows))}
    capacity = (pairs.inputs_length, pairs.targets_length)
    found = padding_by_packing(pairs.lengths(), capacity)
    if isinstance(rows, PackedPairs):  # all of them are packed already
        found[cfg.data.packing] = padding(pairs.cut_lengths(), capacity, len(rows))
    return found


def _held_out_padding(rows: Examples, cfg: RunConfig) -> dict[str, Padding]:
    """The padding of what is held out, which is never packed."""
    if isinstance(rows, Pairs):
        return {"unpacked": padding(rows.cut_lengths(), (rows.inputs_length, rows.targets_length), len(rows))}
    of_batches = held_out_padding(rows, cfg.train.batch_size)
    return {"batches": dataclasses.replace(of_batches, num_rows=len(rows))}


def _row_share(name: str, examples: RunExamples) -> float:
    """The share of the rows of an epoch that a task has."""
    if len(examples.tasks) == 1:
        return 1.0
    assert isinstance(examples.train, Mixed)
    return int(examples.train.count_M[list(examples.tasks).index(name)]) / len(examples.train)


def _chunk_lengths(rows: Examples) -> list[int]:
    parts = rows.members if isinstance(rows, Mixed) else [rows]
    return [part.objective.chunk_length for part in parts if isinstance(part, Chunks)]


def _source(manifest: Mapping[str, Any], task: TaskConfig) -> str:
    """Where a text comes from, in words; one that was prepared before knows it better than the config."""
    names = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in manifest["task"].items()
        if field in ("source", "eval_source", "packages")
    }
    return in_words(dataclasses.replace(task, **names))


def _pair_lengths(split: Split) -> np.ndarray:
    return np.stack(list(side_lengths(split.ends_EF).values()), axis=1)
