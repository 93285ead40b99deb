# SPDX-License-Identifier: Apache-2.0
"""Assembles the examples of a run from its config and prepared text."""

from typing import NamedTuple

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.converters import Converter, make_converter
from t5x_lite.data.corpus.open import Corpora, Corpus, Split
from t5x_lite.data.examples import Chunks, Examples, Pairs, pair_lengths, unpacked
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.tokenizers import Tokenizer

# Held-out text is corrupted independently of the run's seed, so that runs can be compared.
EVAL_SEED = 20_191_023
CHECKED_EXAMPLES = 20_000  # evenly spaced, per split of a classifier's task


class RunExamples(NamedTuple):
    """The examples of a run; tasks are named as in `task_specs.tasks_of`."""

    train: Examples
    eval: dict[str, Examples]  # held out, by task
    tasks: dict[str, Examples]  # the parts of `train`, by task
    convert: Converter  # from a task's features to the model's


def make_examples(cfg: RunConfig, corpora: Corpora) -> RunExamples:
    """Returns the training examples, and the held-out examples of each task, for a config with resolved tasks.

    Raises:
      ValueError: if there is too little text, or the lengths in `cfg.train` do not suit it.
    """
    tasks = {name: corpus.task for name, corpus in corpora.items()}
    train = {name: _examples(cfg, corpus, held_out=False) for name, corpus in corpora.items()}
    held_out = held_out_examples(cfg, corpora)
    tokenizer = next(iter(corpora.values())).tokenizer
    convert = make_converter(cfg.model.architecture, tasks, tokenizer, packing=cfg.data.packing)
    if cfg.model.traits.labels_per:
        for examples in (*train.values(), *held_out.values()):
            _check_labels(examples, convert)
    if cfg.task.mixture is None:
        return RunExamples(train[""], held_out, train, convert)
    from t5x_lite.data.mixing import Mixed, example_rates

    counts = {name: len(unpacked(examples)) for name, examples in train.items()}
    rates = example_rates(cfg.task, counts)
    rows = [rates[name] * len(train[name]) / counts[name] for name in train]  # packed rows hold several examples
    return RunExamples(Mixed(list(train.values()), rows, seed=cfg.seed), held_out, train, convert)


def held_out_examples(cfg: RunConfig, corpora: Corpora) -> dict[str, Examples]:
    """Returns the held-out examples of each task; has the args and errors of `make_examples`."""
    return {name: _examples(cfg, corpus, held_out=True) for name, corpus in corpora.items()}


def _examples(cfg: RunConfig, corpus: Corpus, *, held_out: bool) -> Examples:
    split = corpus.eval if held_out else corpus.train
    if corpus.has_pairs:
        return _pairs(cfg, corpus, split, held_out=held_out)
    seed, train = EVAL_SEED if held_out else cfg.seed, cfg.train
    mixture = make_objectives(
        corpus.task, corpus.tokenizer, inputs_length=train.inputs_length, targets_length=train.targets_length, seed=seed
    )
    chunks = [Chunks(split.tokens, objective) for _, objective in mixture]
    if len(chunks) == 1:
        return chunks[0]
    from t5x_lite.data.mixing import Mixed

    return Mixed(chunks, [rate for rate, _ in mixture], seed=seed)


def _pairs(cfg: RunConfig, corpus: Corpus, split: Split, *, held_out: bool) -> Examples:
    pairs = Pairs(
        split.tokens,
        split.ends_EF,
        cfg.train.inputs_length,
        _targets_length(cfg, corpus),
        eos_id=corpus.tokenizer.eos_id,
        seed=cfg.seed,
    )
    if cfg.data.too_long == "error":
        _check_lengths(pairs, corpus.tokenizer)
    if held_out:  # never skipped or packed, so that evaluations stay comparable
        return pairs
    if cfg.data.too_long == "skip":
        pairs = pairs.without(np.asarray(pairs.too_long().any(axis=1)))
    if not len(pairs):
        raise ValueError(
            f"every pair is longer than train.inputs_length {cfg.train.inputs_length} or train.targets_length "
            f"{cfg.train.targets_length}, and data.too_long is skip: raise the lengths, or set data.too_long to cut"
        )
    if cfg.data.packing == "none":
        return pairs
    from t5x_lite.data.packing import PackedPairs

    return PackedPairs(pairs, cfg.data.packing)


def _targets_length(cfg: RunConfig, corpus: Corpus) -> int:
    """Returns T: `train.targets_length`, or the longest targets for classifiers."""
    asked, architecture = cfg.train.targets_length, cfg.model.architecture
    sides = [side.ends_EF for side in (corpus.train, corpus.eval) if side.num_documents]
    longest = max(int(np.max(pair_lengths(ends_E2)[:, 1])) for ends_E2 in sides)
    if cfg.model.traits.labels_per:
        if asked is not None:
            raise ValueError(f"train.targets_length is {asked}, but model.architecture is {architecture}: leave it out")
        return longest
    if asked is None:
        raise ValueError(
            "train.targets_length is null, but a task with task.targets needs it: set it; the longest targets have "
            f"{longest} tokens, EOS included"
        )
    return asked


def _check_labels(examples: Examples, convert: Converter) -> None:
    """Raises ValueError, before training, if any targets are not labels."""
    count = min(len(examples), CHECKED_EXAMPLES)
    numbers = np.arange(count) * len(examples) // count
    for some in np.array_split(numbers, -(-count // 1_000)):
        convert(examples(some, some))


def _check_lengths(pairs: Pairs, tokenizer: Tokenizer) -> None:
    """Raises ValueError if any pair is too long, describing the first one."""
    too_long_E2 = pairs.too_long()
    if not too_long_E2.any():
        return
    number = int(np.argmax(too_long_E2.any(axis=1)))
    (pair,) = pairs.read(np.array([number]))
    side = "inputs" if too_long_E2[number, 0] else "targets"
    length, limit = pairs.lengths()[number, int(side == "targets")], getattr(pairs, f"{side}_length")
    raise ValueError(
        f"{int(too_long_E2.any(axis=1).sum()):,} pairs are too long: the first has {side} of {length} tokens, EOS "
        f"included, but train.{side}_length is {limit}; its inputs begin with "
        f"{tokenizer.decode(pair['inputs'])[:80]!r}: raise it, or set data.too_long to cut or skip"
    )
