# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite runs`: lists the runs below a directory with their state, from their small files alone."""

import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from t5x_lite.evaluation.results import PREFIX, by_task
from t5x_lite.evaluation.words import LABELS, unit_of
from t5x_lite.files.lock import LOCK
from t5x_lite.files.metrics_file import METRICS, check_rows, read_rows
from t5x_lite.files.run_config import RUN_CONFIG, read_run_config
from t5x_lite.files.run_path import CHECKPOINTS, saved_steps

ENVIRONMENT = "environment.json"
WRITTEN = (CHECKPOINTS, METRICS, ENVIRONMENT)  # of which a run has one, from its start on
WIDTH = 240  # wider than the table: narrow terminals wrap lines instead of losing numbers
LESS_IS_BETTER = ("loss", "loss_text", "perplexity")
LESS_IS_BETTER_BEGINS = ("edit_distance", "cased_edit_distance")
LESS_IS_BETTER_ENDS = ("_loss", "_error", "_deviance")  # as scikit-learn names its functions
NOT_OF_THE_MODEL = ("unigram_text", "unigram_labels")
AGES = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}  # seconds per unit

State = Literal["complete", "stopped", "running", "failed", "not started", "damaged"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run as its files tell; `--json` prints the fields."""

    run: str
    state: State  # failed is without a checkpoint, not started is without a config
    problem: str | None = None  # what is damaged
    step: int | None = None  # of the newest checkpoint
    num_steps: int | None = None  # `train.num_steps`
    logged_step: int | None = None  # of the last row of metrics
    loss: float | str | None = None  # the last training loss
    best: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)  # value and step, by result
    started: str | None = None  # first start, ISO 8601
    num_starts: int = 0
    written: str | None = None  # when the last metrics were written, ISO 8601


def run(directory: str, *, as_json: bool = False) -> None:
    """Prints the runs below a directory as a table, or as a JSON list; raises ValueError if there is no directory."""
    if not os.path.isdir(directory):
        raise ValueError(f"DIR is {directory!r}, which is not a directory: name the one that holds your runs")
    summaries = [summarise(path) for path in find_runs(directory)]
    if as_json:
        print(json.dumps([dataclasses.asdict(summary) for summary in summaries], ensure_ascii=False, indent=2))
    elif summaries:
        console = Console(file=sys.stdout, width=WIDTH, highlight=False, markup=False, emoji=False)
        console.print(table(summaries, datetime.datetime.now(datetime.UTC)))
        for problem in filter(None, (summary.problem for summary in summaries)):
            console.print(f"Damaged: {problem}", soft_wrap=True)
    else:
        print(f"There are no runs in {directory}", file=sys.stderr)


def find_runs(directory: str) -> Iterator[pathlib.Path]:
    """Yields the run directories at and below a directory, hidden ones left out; tells what cannot be read."""

    def tell(error: OSError) -> None:
        print(f"Left out {error.filename}: {error.strerror}", file=sys.stderr)

    for path, names, _ in os.walk(directory, onerror=tell):
        here = pathlib.Path(path)
        if is_run(here):
            names.clear()
            yield here
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (here / name for name in names if (here / name).is_symlink() and is_run(here / name))


def is_run(path: pathlib.Path) -> bool:
    """Returns whether `train` made a directory."""
    has_lock = (path / LOCK).is_file()
    has_config, has_results = (path / RUN_CONFIG).is_file(), any((path / name).exists() for name in WRITTEN)
    return (has_lock and (has_config or has_results or len(os.listdir(path)) == 1)) or (has_config and has_results)


def summarise(path: pathlib.Path) -> RunSummary:
    """Returns what the files of a run tell; a run with a damaged file has the state `damaged`."""
    known: dict[str, Any] = {"run": str(path)}
    try:
        known |= _read(path)
        state = _state(path, known)
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())
        return RunSummary(**known, state="running" if is_locked(path / LOCK) else "damaged", problem=problem)
    return RunSummary(**known, state=state)


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the fields of a summary; raises ValueError or OSError if a file is damaged."""
    metrics = path / METRICS
    check_rows(metrics)
    steps, rows = saved_steps(path), read_rows(metrics)
    config, environment = read_run_config(path), path / ENVIRONMENT
    starts = _starts(environment) if config is not None or environment.is_file() else []
    if config is None and (steps or rows):
        raise ValueError(f"{path / RUN_CONFIG} is missing: restore it")
    train = (config or {}).get("train")
    num_steps = train.get("num_steps") if isinstance(train, dict) else None
    if config is not None and type(num_steps) is not int:
        raise ValueError(f"{path / RUN_CONFIG} has train.num_steps {num_steps!r}: restore it")
    written = datetime.datetime.fromtimestamp(metrics.stat().st_mtime, datetime.UTC) if rows else None
    return {
        "step": steps[-1] if steps else None,
        "num_steps": num_steps,
        "logged_step": max((row["step"] for row in rows), default=None),
        "loss": next((row["loss"] for row in reversed(rows) if "loss" in row), None),
        "best": best_results(rows),
        "started": starts[0].get("started") if starts else None,
        "num_starts": len(starts),
        "written": written and written.isoformat(timespec="seconds"),
    }


def _starts(path: pathlib.Path) -> list[dict[str, Any]]:
    from t5x_lite.training.starts import read_starts

    starts = read_starts(path)
    if not all(isinstance(start, dict) for start in starts):
        raise ValueError(f"{path} is damaged: restore it, or remove it")
    return starts


def _state(path: pathlib.Path, known: Mapping[str, Any]) -> State:
    if is_locked(path / LOCK):
        return "running"
    if known["num_steps"] is None:
        return "not started"
    if known["step"] is None:
        return "failed"
    return "complete" if known["step"] >= known["num_steps"] else "stopped"


def is_locked(lock: pathlib.Path) -> bool:
    """Returns whether a process holds a lock; looks for an instant, which `locked` waits for."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def best_results(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns the best value of each result of evaluations, and the first step that had it, by name."""
    best: dict[str, dict[str, float]] = {}
    for row in rows:
        for name, value in row.items():
            short = name.removeprefix(PREFIX)
            if short == name or short.rpartition("/")[2] in NOT_OF_THE_MODEL or not isinstance(value, (int, float)):
                continue
            sign = -1 if is_better_if_less(short) else 1
            if name not in best or sign * value > sign * best[name]["value"]:
                best[name] = {"value": value, "step": row["step"]}
    return best


def is_better_if_less(name: str) -> bool:
    """Returns whether a smaller value of a result, given without its prefix, is better."""
    parts = name.split("/")
    begins_so = any(part in LESS_IS_BETTER_BEGINS for part in parts)
    return begins_so or parts[-1] in LESS_IS_BETTER or parts[-1].endswith(LESS_IS_BETTER_ENDS)


def table(summaries: Sequence[RunSummary], now: datetime.datetime) -> Table:
    """Returns a table of runs."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("run", "state", "logged", "loss", "best", "started", "last row"):
        made.add_column(column, justify="right" if column in ("logged", "loss") else "left", no_wrap=True)
    for one in summaries:
        loss = f"{one.loss:.3f}" if isinstance(one.loss, float) else str(one.loss or "")
        logged = "" if one.logged_step is None else f"{one.logged_step:,}"
        made.add_row(
            one.run, _state_text(one), logged, loss, _best_text(one), _day(one.started), _age(one.written, now)
        )
    return made


def _state_text(one: RunSummary) -> str:
    at = "" if one.step is None else f" at {one.step:,} of {one.num_steps:,}"
    match one.state:
        case "complete":
            return "complete"
        case "failed":
            return "failed before its first checkpoint"
        case "not started":
            return "never started"
        case "running":
            return f"running{at and ', saved' + at}"
        case "stopped":
            return f"stopped{at}"
    return one.state


def _best_text(one: RunSummary) -> str:
    """Returns the best value of the task's first metric or, without one, of the held-out loss."""
    results = by_task(one.best)[""]  # those of a task alone, or of all tasks of a mixture together
    name = next((name for name in results if name not in LABELS), "loss")
    if name not in results:
        return ""
    value, step = results[name]["value"], results[name]["step"]
    if name == "loss":
        return f"held-out loss {value:.3f} at {step:,}"
    return " ".join(filter(None, [f"{name} {value:.2f}", unit_of(name), f"at {step:,}"]))


def _day(time: str | None) -> str:
    return "" if time is None else str(time)[:16].replace("T", " ")


def _age(time: str | None, now: datetime.datetime) -> str:
    if time is None:
        return ""
    seconds = max((now - datetime.datetime.fromisoformat(time)).total_seconds(), 0)
    unit = next((unit for unit, size in AGES.items() if seconds >= size), "s")
    return f"{seconds / AGES[unit]:.0f} {unit} ago"
