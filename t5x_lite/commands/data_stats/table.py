# SPDX-License-Identifier: Apache-2.0
"""What was found, for a person to read."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from t5x_lite.commands.data_stats.findings import Batches, Side, Statistics, Task
from t5x_lite.commands.data_stats.lengths import MOST_CUT, PACKED_PAIRS, QUANTILES

WIDTH = 200  # more than any table has: in a narrower window lines are broken, and no number is left out
SIDES = {"train": "train", "eval": "held-out"}


def print_tables(found: Statistics) -> None:
    """Prints all that is in `found` on standard output."""
    console = Console(file=sys.stdout, width=WIDTH, highlight=False, markup=False)
    for name, task in found.tasks.items():
        console.print(f"== {name}: {task.source}", soft_wrap=True)
        for table in (sizes(task), lengths(task), cut_off(task), padding(task), targets_lengths(task)):
            if table.row_count:
                console.print(table)
                console.print()
        for line in remarks(task, found):
            console.print(line, soft_wrap=True)
        console.print()
    for line in run_remarks(found):
        console.print(line, soft_wrap=True)


def sizes(task: Task) -> Table:
    """Returns how much there is of each side."""

    def characters(side: Side) -> str:
        return ("about " if side.num_characters_is_estimate else "") + f"{side.num_characters:,}"

    sides = (task.train, task.eval)
    return _table(
        ("", *SIDES.values()),
        [
            (task.what, *(f"{side.num_examples:,}" for side in sides)),
            ("characters", *map(characters, sides)),
            ("tokens", *(f"{side.num_tokens:,}" for side in sides)),
            ("characters a token", *(f"{side.characters_per_token:.2f}" for side in sides)),
            ("bytes a token", *(f"{side.bytes_per_token:.2f}" for side in sides)),
            ("unknown tokens, of a sample", *(f"{side.unknown_share:.3%}" for side in sides)),
            ("rows of an epoch", *(f"{side.num_rows:,}" for side in sides)),
        ],
    )


def lengths(task: Task) -> Table:
    """Returns the quantiles of the lengths."""
    rows = [
        (f"{title} {name}", *(f"{length:,}" for length in found.quantiles.values()), f"{found.mean:,.0f}")
        for key, title in SIDES.items()
        for name, found in getattr(task, key).lengths.items()
    ]
    names = (name.replace("p", "") + ("%" if name.startswith("p") else "") for name in QUANTILES)
    return _table(("tokens", *names, "mean"), rows)


def cut_off(task: Task) -> Table:
    """Returns what the limits take away of pairs."""
    rows = []
    for key, title in SIDES.items():
        side: Side = getattr(task, key)
        for name, cut in side.cut.items():
            share = cut.num_examples / side.num_examples
            rows.append(
                (f"{title} {name}", f"{cut.limit:,}", f"{cut.num_examples:,}", f"{share:.1%}", f"{cut.num_tokens:,}")
            )
    return _table(("cut off", "longer than", "examples", "of them", "tokens lost"), rows)


def padding(task: Task) -> Table:
    """Returns the share of the places that is padding."""
    rows = [
        (
            f"{SIDES[key]} {kind}",
            f"{found.num_rows:,}",
            f"{found.inputs:.1%}",
            f"{found.targets:.1%}",
            f"{found.both:.1%}",
        )
        for key in SIDES
        for kind, found in getattr(task, key).padding.items()
    ]
    shape = f"padding at {task.inputs_length:,} + {task.targets_length:,}"
    return _table((shape, "rows", "of inputs", "of targets", "of both"), rows)


def targets_lengths(task: Task) -> Table:
    """Returns what other values of `train.targets_length` come to."""
    rows = [
        (
            f"{tried.targets_length:,}" + (" *" if tried.targets_length == task.recommended_targets_length else ""),
            f"{tried.padding.num_rows:,}",
            f"{tried.padding.inputs:.1%}",
            f"{tried.padding.targets:.1%}",
            f"{tried.padding.both:.1%}",
            f"{tried.num_cut:,}",
        )
        for tried in task.targets_lengths
    ]
    columns = ("best_fit with targets_length", "rows", "padding of inputs", "of targets", "of both", "targets cut off")
    return _table(columns, rows)


def remarks(task: Task, run: Statistics) -> Iterable[str]:
    """Yields what there is to say of a task beside its tables."""
    if task.chunk_lengths:
        shortest, longest = min(task.chunk_lengths), max(task.chunk_lengths)
        chunks = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
        yield (
            f"{task.objective}: the text is one stream, cut into chunks of {chunks} tokens; nothing of a document is "
            "cut off, and padding is measured on a few batches."
        )
    if task.recommended_targets_length is not None:
        best = next(t for t in task.targets_lengths if t.targets_length == task.recommended_targets_length)
        yield (
            f"* With data.packing best_fit and train.inputs_length {run.inputs_length:,}, train.targets_length "
            f"{best.targets_length:,} has the least padding, {best.padding.both:.1%}, of those that cut {MOST_CUT:.0%} "
            "of the targets or less."
        )
        if task.train.num_examples > PACKED_PAIRS:
            yield f"  Packings that the run does not use were measured on {PACKED_PAIRS:,} pairs."
    if task.num_short:
        why = "pairs with empty inputs or targets" if task.train.cut else "documents shorter than task.min_characters"
        yield f"Left out: {task.num_short:,} {why}."
    if task.num_skipped:
        yield f"Skipped: {task.num_skipped:,} bad records or files. The first: {task.first_skipped}"
    if len(run.tasks) > 1:
        yield f"Rate: {task.rate:.1%} of the examples of the mixture."
    yield (
        f"Training sees all of it in {task.num_steps_per_epoch:,.1f} steps of {run.batch_size:,} rows, and "
        f"{task.num_epochs:,.1f} times in train.num_steps {run.num_steps:,}."
    )
    if task.making is None:
        yield "Time: the text was there already; another --run_dir makes it anew, and times it."
    else:
        made = task.making
        yield (
            f"Time: opening the source {made.opening_source_s:.2f} s, reading it {made.reading_s:.2f} s (from a part), "
            f"tokenising and writing {made.tokenising_s:.2f} s, in one process."
        )
    yield f"Batches of it: {_speed(task.batches)}."


def run_remarks(run: Statistics) -> Iterable[str]:
    """Yields what there is to say of all tasks together."""
    if run.targets_length_is_recommended:
        yield (
            f"train.targets_length is null, and a task with targets needs one: the numbers above are for "
            f"{run.targets_length:,}, the longest that a task recommends."
        )
    if len(run.tasks) > 1:
        yield (
            f"All tasks together: {run.num_rows:,} rows an epoch, {run.num_steps_per_epoch:,.1f} steps; batches "
            f"{_speed(run.batches)}, {run.batches.padding.both:.1%} padding."
        )
    vocabulary = "" if run.vocabulary_s is None else f"the vocabulary {run.vocabulary_s:.2f} s, "
    yield f"Time: {vocabulary}opening the finished text, its checksums compared, {run.checking_s:.2f} s."


def _speed(batches: Batches) -> str:
    return (
        f"{batches.examples_per_second:,.0f} examples and {batches.tokens_per_second:,.0f} tokens a second in one "
        f"process, over {batches.num_batches:,}"
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
