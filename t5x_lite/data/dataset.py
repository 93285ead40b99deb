# SPDX-License-Identifier: Apache-2.0
"""From a config and its corpora to the examples of a run: to learn from, and held out for each task."""

import dataclasses
from typing import NamedTuple

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.data.converters import LABELS, Converter, make_converter
from t5x_lite.data.corpus.open import Corpora, Corpus, Split
from t5x_lite.data.examples import EVAL_SEED, Chunks, Examples, PackedPairs, Pairs, pair_lengths
from t5x_lite.data.mixing import Mixed, example_rates
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import Tokenizer

CHECKED_EXAMPLES = 20_000  # of each split of a classifier's task, at even distances


class RunExamples(NamedTuple):
    """The examples of a run."""

    train: Examples
    eval: dict[str, Examples]  # of each task, by the names of `definitions.tasks_of`
    tasks: dict[str, Examples]  # what `train` is made of, by the same names
    convert: Converter  # makes the model's features of any of them


def make_examples(cfg: RunConfig, corpora: Corpora) -> RunExamples:
    """Returns the examples to learn from and the held-out ones of each task.

    Args:
      cfg: the run, its task resolved.
      corpora: of its tasks.

    Raises:
      ValueError: if there is too little text, or `cfg.train` does not fit it.
    """
    train = {
        name: _of_split(dataclasses.replace(cfg, task=task), corpora[name], corpora[name].train)
        for name, task in tasks_of(cfg.task).items()
    }
    held_out = held_out_examples(cfg, corpora)
    convert = make_converter(cfg, next(iter(corpora.values())).tokenizer)
    if cfg.model.architecture in LABELS:
        for examples in (*train.values(), *held_out.values()):
            _check_labels(examples, convert)
    if cfg.task.mixture is None:
        return RunExamples(train[""], held_out, train, convert)
    counts = {name: num_examples(examples) for name, examples in train.items()}
    rates = example_rates(cfg.task, counts)
    rows = [rates[name] * len(train[name]) / counts[name] for name in train]  # packed rows have several examples
    return RunExamples(Mixed(list(train.values()), rows, seed=cfg.seed), held_out, train, convert)


def held_out_examples(cfg: RunConfig, corpora: Corpora) -> dict[str, Examples]:
    """Returns the held-out examples of each task, by the names of `definitions.tasks_of`.

    Args:
      cfg: the run, its task resolved.
      corpora: of its tasks; what they have to learn from is not read.

    Raises:
      ValueError: as `make_examples`.
    """
    return {
        name: _of_split(dataclasses.replace(cfg, task=task), corpora[name], corpora[name].eval, held_out=True)
        for name, task in tasks_of(cfg.task).items()
    }


def num_examples(examples: Examples) -> int:
    """Returns how many examples there are, however many share a row."""
    return len(examples.pairs) if isinstance(examples, PackedPairs) else len(examples)


def _of_split(cfg: RunConfig, corpus: Corpus, split: Split, *, held_out: bool = False) -> Examples:
    if corpus.has_pairs:
        return _pairs(cfg, corpus, split, held_out=held_out)
    chunks, rates = [], []
    for rate, objective in make_objectives(cfg, corpus.tokenizer):
        chunks.append(Chunks.held_out(split.tokens, objective) if held_out else Chunks(split.tokens, objective))
        rates.append(rate)
    return chunks[0] if len(chunks) == 1 else Mixed(chunks, rates, seed=EVAL_SEED if held_out else cfg.seed)


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
    if held_out:  # none of which is left out: what is measured does not depend on it
        return pairs
    if cfg.data.too_long == "skip":
        pairs = pairs.without(np.asarray(pairs.too_long().any(axis=1)))
    if not len(pairs):
        raise ValueError(
            f"every pair is longer than train.inputs_length {cfg.train.inputs_length} or train.targets_length "
            f"{cfg.train.targets_length}, and data.too_long is skip: raise them, or set it to cut"
        )
    return pairs if cfg.data.packing == "none" else PackedPairs.by(cfg.data.packing, pairs)


def _targets_length(cfg: RunConfig, corpus: Corpus) -> int:
    """Returns how many tokens targets may have; those of a classifier are as long as they are."""
    asked, name = cfg.train.targets_length, cfg.model.architecture
    sides = [side.ends_EF for side in (corpus.train, corpus.eval) if side.num_documents]
    longest = max(int(np.max(pair_lengths(ends_E2)[:, 1])) for ends_E2 in sides)
    if name in LABELS:
        if asked is not None:
            raise ValueError(f"train.targets_length is {asked} and model.architecture is {name}: leave it out")
        return longest
    if asked is None:
        raise ValueError(
            f"train.targets_length is null, which a task with task.targets cannot do with: set it; the longest targets "
            f"have {longest} tokens, EOS included"
        )
    return asked


def _check_labels(examples: Examples, convert: Converter) -> None:
    """Raises ValueError if there are targets that are no labels, before training comes to them."""
    count = min(len(examples), CHECKED_EXAMPLES)
    numbers = np.arange(count) * len(examples) // count
    for some in np.array_split(numbers, -(-count // 1_000)):
        convert(examples(some, some))


def _check_lengths(pairs: Pairs, tokenizer: Tokenizer) -> None:
    """Raises ValueError for the first pair that is longer than it may be."""
    too_long_E2 = pairs.too_long()
    if not too_long_E2.any():
        return
    number = int(np.argmax(too_long_E2.any(axis=1)))
    (pair,) = pairs.read(np.array([number]))
    side = "inputs" if too_long_E2[number, 0] else "targets"
    length, limit = pairs.lengths()[number, int(side == "targets")], getattr(pairs, f"{side}_length")
    raise ValueError(
        f"{int(too_long_E2.any(axis=1).sum()):,} pairs are too long: the first has {side} of {length} tokens, EOS "
        f"included, where train.{side}_length is {limit}, and inputs that begin with "
        f"{tokenizer.decode(pair['inputs'])[:80]!r}: raise it, or set data.too_long to cut or skip"
    )
