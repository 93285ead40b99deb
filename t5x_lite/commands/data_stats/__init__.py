# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite data stats`: statistics of a config's text, to look at before training."""

import dataclasses
import json
import pathlib
import sys

from t5x_lite.commands.data_stats.histogram import histogram
from t5x_lite.commands.data_stats.lengths import QUANTILE, side_lengths
from t5x_lite.commands.data_stats.statistics import Statistics, measure
from t5x_lite.commands.data_stats.table import print_tables
from t5x_lite.commands.data_stats.timing import prepare_timed
from t5x_lite.config import RunConfig
from t5x_lite.data.corpus.open import Corpora
from t5x_lite.data.sources.named_files import task_files
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.one_writer import one_writer
from t5x_lite.files.pictures import can_draw
from t5x_lite.files.same_file import refuse_overwriting
from t5x_lite.training.resolve import Run, resolve_run

PICTURE = "lengths.svg"  # in the run directory


def run(
    cfg: RunConfig,
    *,
    as_json: bool = False,
    output: str | None = None,
    draws: bool = True,
    quantile: float = QUANTILE,
) -> None:
    """Prints statistics of the text and, if it `draws` and matplotlib is installed, writes a histogram of its lengths.

    Missing text is prepared in `run_dir`, where training will reuse it. For tasks with targets, the recommended lengths
    hold `quantile` of the inputs and of the targets whole; that of the targets replaces a null `train.targets_length`.
    JSON output has the fields of `statistics.Statistics`.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"--quantile is {quantile:g}: use a fraction above 0 and at most 1, such as 0.99 for 99%")
    path = pathlib.Path(output if output is not None else pathlib.Path(cfg.run_dir) / PICTURE)
    if path.suffix != ".svg" or path.is_dir():
        raise ValueError(f"--output is {str(path)!r}: name a file that ends in .svg")
    if output is not None and not can_draw():
        raise ValueError(f"--output {output} needs matplotlib: run pip install 't5x-lite[plot]', or omit --output")
    resolved = resolve_run(cfg)
    for task in resolved.tasks.each.values():
        refuse_overwriting([path], task_files(task), "--output")
    with one_writer(output, "--output"):
        _measure(resolved, path if draws else None, quantile, as_json=as_json)


def _measure(resolved: Run, path: pathlib.Path | None, quantile: float, *, as_json: bool) -> None:
    corpora, timings = prepare_timed(resolved)
    statistics = measure(resolved, corpora, timings, quantile)
    if as_json:
        print(json.dumps(dataclasses.asdict(statistics), ensure_ascii=False, indent=2))
    else:
        print_tables(statistics)
    if path is None:
        return
    if can_draw():
        write_atomically(path, picture(statistics, corpora))
        print(f"Histogram of the lengths: {path}", file=sys.stderr)
    else:
        print("Histogram not drawn: matplotlib is not installed (pip install 't5x-lite[plot]')", file=sys.stderr)


def picture(statistics: Statistics, corpora: Corpora) -> str:
    """Returns an SVG document with a histogram of the lengths and their limits for each task."""
    inputs = (f"train.inputs_length {statistics.inputs_length:,}", statistics.inputs_length)
    limits = {"inputs": inputs, "documents": inputs}
    if statistics.targets_length is not None:
        limits["targets"] = (f"train.targets_length {statistics.targets_length:,}", statistics.targets_length)
    panels = {
        f"{name}: {task.train.num_examples:,} {task.what} to learn from": side_lengths(corpus.train.ends_EF)
        for corpus, (name, task) in zip(corpora.values(), statistics.tasks.items(), strict=True)
    }
    return histogram(panels, limits)
