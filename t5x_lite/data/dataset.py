# SPDX-License-Identifier: Apache-2.0
"""Assembles the examples of a run from its prepared text."""

import dataclasses
import functools
from typing import Literal, NamedTuple, Self

import numpy as np

from t5x_lite.config import RunConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.data.converters import Converter, architecture_for, make_converter, stack_lengths
from t5x_lite.data.corpus.open import Corpora, Corpus, tokenizer_of
from t5x_lite.data.examples import Chunks, Examples, unpacked
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.data.tokenizers import Tokenizer

# Held-out text is corrupted independently of the run's seed, so that runs can be compared.
EVAL_SEED = 20_191_023


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleSpec:
    """How the text of a run becomes examples for its model."""

    tasks: TaskSpecs
    architecture: Architecture
    inputs_length: int
    targets_length: int | None
    packing: Literal["none", "first_fit", "best_fit"]
    too_long: Literal["cut", "skip", "error"]
    seed: int
    start_id: int | None = None  # the decoder's first input, given by a trained model; None for padding
    keep_leftover: bool = True  # whether the tokens after the last whole chunk make an example

    @classmethod
    def from_config(
        cls,
        cfg: RunConfig,
        tasks: TaskSpecs,
        architecture: Architecture | None = None,
        *,
        start_id: int | None = None,
    ) -> Self:
        """Returns the spec of a config with these tasks; `architecture` replaces the config's."""
        return cls(
            tasks=tasks,
            architecture=architecture
            or architecture_for(cfg.model.architecture, tasks.each, follows_t5x=cfg.follows_t5x),
            inputs_length=cfg.train.inputs_length,
            targets_length=cfg.train.targets_length,
            packing=cfg.data.packing,
            too_long=cfg.data.too_long,
            seed=cfg.seed,
            start_id=start_id,
            keep_leftover=cfg.follows_t5x,
        )

    def converter(self, tokenizer: Tokenizer) -> Converter:
        """Returns the converter from a task's features to the model's."""
        convert = make_converter(
            self.architecture, self.tasks.each, tokenizer, packing=self.packing, start_id=self.start_id
        )
        options: dict[str, int] = {}
        if self.packing != "none" and self.architecture.keeps_eos and self.targets_length is not None:
            options["row_length"] = self.inputs_length + self.targets_length
        return functools.partial(convert, **options) if options else convert


class RunExamples(NamedTuple):
    """The examples of a run; tasks are named as in `TaskSpecs.each`."""

    train: Examples
    eval: dict[str, Examples]  # held out, by task
    tasks: dict[str, Examples]  # the parts of `train`, by task
    convert: Converter  # from a task's features to the model's


def make_examples(spec: ExampleSpec, corpora: Corpora) -> RunExamples:
    """Returns the training examples, and the held-out examples of each task.

    Raises:
      ValueError: if there is too little text, or the spec's lengths do not suit it.
    """
    train = {name: _examples(spec, corpus, held_out=False) for name, corpus in corpora.items()}
    held_out = held_out_examples(spec, corpora)
    convert = spec.converter(tokenizer_of(corpora))
    if spec.architecture.labels:
        from t5x_lite.data.labels import check_labels

        for examples in (*train.values(), *held_out.values()):
            check_labels(examples, convert)
    if spec.tasks.whole.mixture is None:
        return RunExamples(train[""], held_out, train, convert)
    from t5x_lite.data.mixing import Mixed, example_rates

    counts = {name: len(unpacked(examples)) for name, examples in train.items()}
    rates = example_rates(spec.tasks.whole, counts)
    rows = [rates[name] * len(train[name]) / counts[name] for name in train]  # packed rows hold several examples
    return RunExamples(Mixed(list(train.values()), rows, seed=spec.seed), held_out, train, convert)


def row_lengths(examples: RunExamples) -> tuple[int, int]:
    """Returns the numbers of encoder and decoder tokens in a row of the model's features."""
    first = np.zeros(1, np.int64)
    row = examples.convert(examples.train(first, first))
    return stack_lengths({name: values.shape for name, values in row.items()})


def held_out_examples(spec: ExampleSpec, corpora: Corpora) -> dict[str, Examples]:
    """Returns the held-out examples of each task; has the args and errors of `make_examples`."""
    return {name: _examples(spec, corpus, held_out=True) for name, corpus in corpora.items()}


def _examples(spec: ExampleSpec, corpus: Corpus, *, held_out: bool) -> Examples:
    split = corpus.eval if held_out else corpus.train
    if corpus.has_pairs:
        from t5x_lite.data.pairs import make_pairs

        return make_pairs(spec, corpus, split, held_out=held_out)
    seed = EVAL_SEED if held_out else spec.seed
    mixture = make_objectives(
        corpus.task, corpus.tokenizer, inputs_length=spec.inputs_length, targets_length=spec.targets_length, seed=seed
    )
    chunks = [Chunks(split.tokens, objective, keep_leftover=spec.keep_leftover) for _, objective in mixture]
    if len(chunks) == 1:
        return chunks[0]
    from t5x_lite.data.mixing import Mixed

    return Mixed(chunks, [rate for rate, _ in mixture], seed=seed)
