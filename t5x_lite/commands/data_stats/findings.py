# SPDX-License-Identifier: Apache-2.0
"""What `t5x-lite data stats` finds, as data; `--json` prints these fields."""

import dataclasses

from t5x_lite.commands.data_stats.lengths import Candidate, Cut, Lengths, Padding


@dataclasses.dataclass(frozen=True)
class Making:
    """Seconds that a task's text took to be made, in one process."""

    opening_source_s: float
    reading_s: float  # estimated from a part that is read once more
    tokenising_s: float  # the rest of the work: tokenising, and writing the shards


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
    """What some batches hold, and how quickly they are made in one process."""

    num_batches: int
    padding: Padding
    seconds: float
    examples_per_second: float
    tokens_per_second: float  # of inputs and targets, padding left out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """What is learned from, or what is held out.

    Args:
      num_examples: documents, or pairs.
      num_characters: of their text; estimated by the tokens where the two sides were not counted apart.
      num_characters_is_estimate: whether it is.
      num_tokens: without EOS.
      characters_per_token: the one divided by the other.
      bytes_per_token: in UTF-8; the bytes a character are those of a decoded sample.
      unknown_share: of the tokens of the same sample that are the unknown one.
      lengths: in tokens, of `documents`, or of `inputs` and `targets` with EOS.
      cut: what the limits of the run take away, of `inputs` and `targets`; text is not cut, but chunked.
      num_rows: of an epoch, as the config packs them.
      padding: of pairs `unpacked` and, of those that are learned from, packed by `first_fit` and `best_fit`; of text,
        measured on a few `batches` of its objective.
    """

    num_examples: int
    num_characters: int
    num_characters_is_estimate: bool
    num_tokens: int
    characters_per_token: float
    bytes_per_token: float
    unknown_share: float
    lengths: dict[str, Lengths]
    cut: dict[str, Cut]
    num_rows: int
    padding: dict[str, Padding]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a run.

    Args:
      source: where the text comes from, in words.
      what: documents, or pairs.
      objective: what is asked of text; None of pairs.
      chunk_lengths: tokens of text that become a row, of each denoiser; empty of pairs.
      inputs_length: places for inputs in its rows.
      targets_length: places for targets in its rows.
      train: what is learned from.
      eval: what is held out.
      num_short: documents under `task.min_characters`, or pairs with an empty side, that were left out.
      num_skipped: bad records and files that were skipped.
      first_skipped: what was wrong with the first of them.
      rate: its share of the examples of the run.
      num_steps_per_epoch: in which training sees all of it once.
      num_epochs: how often training sees all of it in `train.num_steps`.
      targets_lengths: values of `train.targets_length` that were tried; empty of text.
      recommended_targets_length: the one with the least padding under best_fit.
      making: how long the text took to be made; None if it was there already.
      batches: some that are made of it alone.
    """

    source: str
    what: str
    objective: str | None
    chunk_lengths: list[int]
    inputs_length: int
    targets_length: int
    train: Side
    eval: Side
    num_short: int
    num_skipped: int
    first_skipped: str | None
    rate: float
    num_steps_per_epoch: float
    num_epochs: float
    targets_lengths: list[Candidate]
    recommended_targets_length: int | None
    making: Making | None
    batches: Batches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """The text of a run.

    Args:
      inputs_length: `train.inputs_length`.
      targets_length: `train.targets_length`, or what is read for null; None is what each objective yields.
      targets_length_is_recommended: whether null was read as a recommended one.
      batch_size: `train.batch_size`.
      packing: `data.packing`.
      num_steps: `train.num_steps`.
      tasks: by name; one that is not in a mixture is `task`.
      num_rows: of an epoch of all tasks together.
      num_steps_per_epoch: the same in steps.
      batches: some of all tasks together, as training sees them.
      vocabulary_s: seconds to read or train a vocabulary; None if the text was there already.
      checking_s: seconds to open the text, every file's checksum compared.
    """

    inputs_length: int
    targets_length: int | None
    targets_length_is_recommended: bool
    batch_size: int
    packing: str
    num_steps: int
    tasks: dict[str, Task]
    num_rows: int
    num_steps_per_epoch: float
    batches: Batches
    vocabulary_s: float | None
    checking_s: float
