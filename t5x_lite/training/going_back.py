# SPDX-License-Identifier: Apache-2.0
"""Goes back to an earlier checkpoint of a run: what is newer is moved to `set_aside/`, and nothing is deleted."""

import datetime
import json
import pathlib
import sys
from typing import Any

import jax

from t5x_lite.checkpoints.whole import damage, newest_whole, whole_steps
from t5x_lite.config import RunConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.checksum import KEY, with_key
from t5x_lite.files.metrics_file import keep_rows, read_rows
from t5x_lite.files.run_path import steps_in
from t5x_lite.training.run_dir import RunDirectory

LATEST_WHOLE = "latest_whole"
SET_ASIDE, RECORD = "set_aside", "record.json"


def check(cfg: RunConfig, from_step: int | str) -> None:
    """Raises ValueError if a run has no checkpoint to go back to; writes nothing."""
    path = pathlib.Path(cfg.run_dir)
    steps = steps_in(path / "checkpoints")
    if not steps:
        raise ValueError(f"--from_step is {from_step}, but run_dir {path} has no checkpoints: leave out --from_step")
    is_known = from_step in steps or any(record["from_step"] == from_step for record in _records(path).values())
    if from_step != LATEST_WHOLE and not is_known:
        raise ValueError(
            f"--from_step is {from_step}, but run_dir {path} has the checkpoints {_listed(steps)}: use one of them, or "
            f"{LATEST_WHOLE}"
        )


def go_back(directory: RunDirectory, cfg: RunConfig, from_step: int | str) -> None:
    """Makes the checkpoint of a step, or the latest whole one, the newest of a run; in process 0 only.

    A job that is started again by the same command goes on from its newest checkpoint: it does not go back twice.

    Raises:
      ValueError: if the checkpoint does not exist or is damaged.
    """
    if jax.process_index() != 0:
        return
    records = _records(directory.path)
    if from_step == LATEST_WHOLE:
        step = newest_whole(directory.checkpoints)
        if step is None:
            raise ValueError(f"--from_step is {LATEST_WHOLE}, but no checkpoint in {directory.checkpoints} is whole")
        if step == steps_in(directory.checkpoints)[-1]:
            return
    elif records and list(records.values())[-1] == _record(cfg, from_step):
        _say(
            f"This command has already gone back to step {from_step}: going on from the newest checkpoint (to go "
            f"back again, change a field, or remove {list(records)[-1]})"
        )
        return
    else:
        step = int(from_step)
        _check_whole(directory.checkpoints, step)
    if step > cfg.train.num_steps:
        raise ValueError(f"--from_step is {from_step}, but train.num_steps is {cfg.train.num_steps}: raise it")
    _set_aside(directory, step, _record(cfg, from_step))


def _set_aside(directory: RunDirectory, step: int, record: dict[str, Any]) -> None:
    """Moves what is after a step to a new directory; the record comes last, so that after a kill the rest follows."""
    later, place = [found for found in steps_in(directory.checkpoints) if found > step], _new_place(directory.path)
    for found in reversed(later):
        (place / "checkpoints").mkdir(parents=True, exist_ok=True)
        (directory.checkpoints / str(found)).rename(place / "checkpoints" / str(found))
    rows = [row for row in read_rows(directory.metrics) if row["step"] > step]
    if rows:
        write_atomically(place / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        keep_rows(directory.metrics, step)
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write_atomically(place / RECORD, json.dumps(with_key(record | {"time": time}), indent=2) + "\n")
    if later or rows:
        moved = [f"checkpoints {_listed(later)}"] * bool(later) + [f"{len(rows)} rows of metrics.jsonl"] * bool(rows)
        _say(f"Going on from step {step}: {' and '.join(moved)} after it are now in {place}")


def _check_whole(checkpoints: pathlib.Path, step: int) -> None:
    steps = steps_in(checkpoints)
    if step not in steps:
        raise ValueError(f"--from_step is {step}, but {checkpoints} has {_listed(steps)}: use one of them")
    reason = damage(checkpoints / str(step))
    if reason is not None:
        whole = _listed(whole_steps(checkpoints)) or "none"
        raise ValueError(f"--from_step is {step}, but {checkpoints / str(step)} is damaged: {reason}. Whole: {whole}")


def _record(cfg: RunConfig, from_step: int | str) -> dict[str, Any]:
    """Returns what tells a command from others, as JSON reads it."""
    return {"from_step": from_step, "config": json.loads(json.dumps(as_plain(cfg)))}


def _records(run_dir: pathlib.Path) -> dict[pathlib.Path, dict[str, Any]]:
    """Returns the records of all times that a run has gone back, oldest first, without their time, by file."""
    records = {}
    for path in sorted(run_dir.glob(f"{SET_ASIDE}/*/{RECORD}"), key=lambda path: int(path.parent.name)):
        try:
            record = json.loads(path.read_text())
            if KEY in record and record != with_key(record):
                raise ValueError("its checksum does not match")
            records[path] = {name: record[name] for name in ("from_step", "config")}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged: restore or remove it") from error
    return records


def _new_place(run_dir: pathlib.Path) -> pathlib.Path:
    numbers = [int(path.name) for path in (run_dir / SET_ASIDE).glob("*") if path.name.isdigit()]
    return run_dir / SET_ASIDE / str(max(numbers, default=0) + 1)


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
