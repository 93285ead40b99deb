# SPDX-License-Identifier: Apache-2.0
"""Prints statistics as tables and remarks."""

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from t5x_lite.commands.data_stats.lengths import PACKED_PAIRS, QUANTILES, UNPACKED, Cut, Padding, Recommended
from t5x_lite.commands.data_stats.statistics import Batches, Statistics, Task

WIDTH = 200  # wider than any table: narrow terminals wrap lines instead of losing numbers


def print_tables(statistics: Statistics) -> None:
    """Prints statistics to standard output."""
    console = Console(file=sys.stdout, width=WIDTH, highlight=False, markup=False)
    for name, task in statistics.tasks.items():
        console.print(f"== {name}: {task.source}", soft_wrap=True)
        for table in tables(task):
            if table.row_count:
                console.print(table)
                console.print()
        for line in remarks(task, statistics):
            console.print(line, soft_wrap=True)
        console.print()
    for line in run_remarks(statistics):
        console.print(line, soft_wrap=True)


def tables(task: Task) -> Iterable[Table]:
    """Yields tables of sizes, lengths, truncation, and padding, as configured and at other lengths."""
    sides = {"train": task.train, "held-out": task.eval}
    yield _table(("", *sides), _sizes(task))
    columns = (f"{name[1:]}%" if name.startswith("p") else name for name in QUANTILES)
    yield _table(
        ("tokens", *columns, "mean"),
        (
            (f"{title} {name}", *(f"{length:,}" for length in lengths.quantiles.values()), f"{lengths.mean:,.0f}")
            for title, side in sides.items()
            for name, lengths in side.lengths.items()
        ),
    )
    yield _table(
        ("truncated", "longer than", "examples", "of them", "tokens lost"),
        (
            (f"{title} {name}", *_cut(cut, side.num_examples))
            for title, side in sides.items()
            for name, cut in side.cut.items()
        ),
    )
    yield _table(
        (f"padding at {task.inputs_length:,} + {task.targets_length:,}", "rows", "of inputs", "of targets", "of both"),
        ((f"{title} {kind}", *_padding(made)) for title, side in sides.items() for kind, made in side.padding.items()),
    )
    if task.recommended is not None and task.recommended.padding:
        lengths = f"{task.recommended.inputs_length:,} + {task.recommended.targets_length:,}"
        yield _table(
            (f"padding at {lengths}", "rows", "of inputs", "of targets", "of both"),
            ((f"train {kind}", *_padding(made)) for kind, made in task.recommended.padding.items()),
        )


def _sizes(task: Task) -> Iterable[Iterable[str]]:
    sides = (task.train, task.eval)
    about = ("about " if side.num_characters_is_estimate else "" for side in sides)
    yield task.what, *(f"{side.num_examples:,}" for side in sides)
    yield "characters", *(f"{prefix}{side.num_characters:,}" for prefix, side in zip(about, sides, strict=True))
    yield "tokens", *(f"{side.num_tokens:,}" for side in sides)
    yield "characters per token", *(f"{side.characters_per_token:.2f}" for side in sides)
    yield "bytes per token", *(f"{side.bytes_per_token:.2f}" for side in sides)
    yield "unknown tokens, of a sample", *(f"{side.unknown_share:.3%}" for side in sides)
    yield "rows per epoch", *(f"{side.num_rows:,}" for side in sides)


def _cut(cut: Cut, num_examples: int) -> Iterable[str]:
    return f"{cut.limit:,}", f"{cut.num_examples:,}", f"{cut.num_examples / num_examples:.1%}", f"{cut.num_tokens:,}"


def _padding(padding: Padding) -> Iterable[str]:
    return f"{padding.num_rows:,}", f"{padding.inputs:.1%}", f"{padding.targets:.1%}", f"{padding.both:.1%}"


def remarks(task: Task, run: Statistics) -> Iterable[str]:
    """Yields remarks on a task."""
    if task.chunk_lengths:
        shortest, longest = min(task.chunk_lengths), max(task.chunk_lengths)
        chunks = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
        yield (
            f"{task.objective}: the text is one stream, divided into chunks of {chunks} tokens; no document is "
            "truncated, and padding is measured on a few batches."
        )
    if task.recommended is not None:
        yield from _advice(task, task.recommended)
        if task.train.num_examples > PACKED_PAIRS:
            yield (
                "  Packings that the run does not use, and those at the recommended lengths, were measured on "
                f"{PACKED_PAIRS:,} pairs."
            )
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
        yield "Time: the text was prepared before; another --run_dir prepares it again, and times it."
    else:
        making = task.making
        yield (
            f"Time: opening the source {making.opening_source_s:.2f} s, reading it {making.reading_s:.2f} s "
            f"(estimated), tokenising and writing {making.tokenising_s:.2f} s, in one process."
        )
    yield f"Batches of it: {_speed(task.batches)}."


def _advice(task: Task, advice: Recommended) -> Iterable[str]:
    """Yields the recommended lengths and packing, and what the lengths of the run cut."""
    number = task.train.num_examples
    lengths = [f"train.inputs_length {advice.inputs_length:,}"]
    if advice.targets_length is not None:
        lengths.append(f"train.targets_length {advice.targets_length:,}")
    yield (
        f"Recommended for {100 * advice.quantile:.6g}% of the examples: {' and '.join(lengths)}, which cut "
        f"{_all_cut(advice.cut, number)}."
    )
    if advice.packing is not None:
        best, unpacked = advice.padding.get(advice.packing), advice.padding[UNPACKED]
        yield (
            f"With them, rows have {unpacked.both:.1%} padding, which packing does not reduce."
            if best is None
            else f"With them, data.packing {advice.packing} has the least padding, {best.both:.1%}, against "
            f"{unpacked.both:.1%} unpacked."
        )
    yield (
        f"The lengths of this run, {task.inputs_length:,} + {task.targets_length:,}, cut "
        f"{_all_cut(task.train.cut, number)}."
    )


def _all_cut(cut: Mapping[str, Cut], number: int) -> str:
    counts = {side: one.num_examples for side, one in cut.items()}
    names = {side: side[:-1] if count == 1 else side for side, count in counts.items()}
    return " and ".join(f"{count:,} {names[side]} ({count / number:.1%})" for side, count in counts.items())


def run_remarks(run: Statistics) -> Iterable[str]:
    """Yields remarks on the whole run."""
    if run.targets_length_is_recommended:
        yield (
            "train.targets_length is null, but a task with targets needs one: the numbers above are for "
            f"{run.targets_length:,}, the longest that a task recommends."
        )
    if len(run.tasks) > 1:
        yield (
            f"All tasks together: {run.num_rows:,} rows per epoch, {run.num_steps_per_epoch:,.1f} steps; batches "
            f"{_speed(run.batches)}, {run.batches.padding.both:.1%} padding."
        )
    vocabulary = "" if run.vocabulary_s is None else f"the vocabulary {run.vocabulary_s:.2f} s, "
    yield f"Time: {vocabulary}opening the prepared text and comparing its checksums {run.checking_s:.2f} s."


def _speed(batches: Batches) -> str:
    return (
        f"{batches.examples_per_second:,.0f} examples and {batches.tokens_per_second:,.0f} tokens per second in one "
        f"process, over {batches.num_batches:,}"
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
