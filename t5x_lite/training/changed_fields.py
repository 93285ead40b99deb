# SPDX-License-Identifier: Apache-2.0
"""The fields of a config that differ when a run is started again: which may change, and how changes are recorded."""

import datetime
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from t5x_lite.config import OptimizerConfig, RunConfig, TaskConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.config.run import FIRST_REVISION
from t5x_lite.files.checksum import is_changed
from t5x_lite.files.messages import listed
from t5x_lite.files.run_config import HISTORY, RUN_CONFIG, read_run_config
from t5x_lite.files.yaml_text import load_yaml
from t5x_lite.optim.builder import DEFAULT_ADAM_BETA1

# The checkpoints cannot be used if one of these changes; those of the model, but for MODEL_FIELDS, are fixed too.
FIXED_FIELDS = ("revision", "task.tokenizer", "optimizer.name", "optimizer.beta1", "optimizer.factored")
MODEL_FIELDS = ("model.pretrained", "model.dropout_rate", "model.dtype", "model.attention")
# These do not decide the numbers, but for the last bits: where and how often something is done, not what. The number of
# steps is part of some schedules, but it is never changed by accident: it is how a run is continued.
FREE_FIELDS = (
    "run_dir",
    "task.max_unpack_ratio",
    "data.num_workers",
    "data.prefetch_batches",
    "model.attention",
    "train.num_steps",
    "train.num_epochs",
    "train.remat",
    "train.offload",
    "train.log_every_steps",
    "train.max_nonfinite_steps",
    "eval.every_steps",
    "checkpoint",
    "mesh",
)
MAX_VALUE_CHARACTERS = 200


class Change(NamedTuple):
    """A field whose value differs from the recorded one."""

    field: str
    old: Any
    new: Any

    @property
    def is_fixed(self) -> bool:
        """Whether the run cannot continue with it."""
        is_model = _is_in(self.field, ("model",)) and self.field not in MODEL_FIELDS
        return is_model or _is_in(self.field, FIXED_FIELDS)

    @property
    def is_free(self) -> bool:
        """Whether it leaves the numbers as they are."""
        return _is_in(self.field, FREE_FIELDS)

    def __str__(self) -> str:
        return f"{self.field} from {_shown(self.old)} to {_shown(self.new)}"


def changed_fields(run_dir: pathlib.Path, asked: Mapping[str, Any]) -> list[Change]:
    """Returns the fields of the config asked for that differ from the recorded one; none if there are no results yet.

    Fields that the record does not have, because it is older, had their default values.

    Raises:
      ValueError: if there are results without a record.
    """
    recorded = read_run_config(run_dir)
    if not has_results(run_dir):
        return []
    if recorded is None:
        raise ValueError(
            f"{run_dir} holds the results of a run, but not its {RUN_CONFIG}: restore it, or name another run_dir"
        )
    old, new = _spelt_out(recorded, asked)
    return list(_differences("", old, new, as_plain(RunConfig(run_dir="."))))


def has_results(run_dir: pathlib.Path) -> bool:
    """Returns whether a run has a checkpoint or a row of metrics."""
    metrics = run_dir / "metrics.jsonl"
    return any((run_dir / "checkpoints").glob("*/")) or (metrics.is_file() and metrics.stat().st_size > 0)


def check_changes(run_dir: pathlib.Path, asked: Mapping[str, Any], *, allow_changes: bool) -> None:
    """Raises ValueError, with the old and new values, if a run cannot, or must not without being told to, continue."""
    changes = changed_fields(run_dir, asked)
    if has_results(run_dir) and _edit(run_dir) and not allow_changes:
        raise ValueError(
            f"{run_dir / RUN_CONFIG} was changed after the run wrote it (edited, or damaged): restore it, or continue "
            "with what it says now by --allow_changes, which is recorded"
        )
    fixed = [change for change in changes if change.is_fixed]
    if fixed:
        raise ValueError(
            f"{_differs(fixed[0], run_dir)}{_and_also(fixed[1:])}: use that value, or another run_dir; the checkpoints "
            "cannot be used with another one"
        )
    deciding = [change for change in changes if not change.is_free]
    if deciding and not allow_changes:
        raise ValueError(
            f"{_differs(deciding[0], run_dir)}{_and_also(deciding[1:])}: use the old value or another run_dir, or "
            "continue with the new one by --allow_changes, which is recorded"
        )


def with_history(
    run_dir: pathlib.Path, asked: Mapping[str, Any], step: int, num_epochs: float | None = None
) -> dict[str, Any]:
    """Returns what `config.yaml` is to hold from `step` on, and prints what changes.

    The number of steps asked for may have been counted from `num_epochs`, which errors name then.

    Raises:
      ValueError: if the run has no step left in which a change would have an effect.
    """
    changes, num_steps = changed_fields(run_dir, asked), asked["train"]["num_steps"]
    length, longer = f"train.num_steps is {num_steps}", f"a train.num_steps above {step}"
    if num_epochs is not None:
        length, longer = f"train.num_epochs is {num_epochs:g}, or {num_steps} steps", "a larger train.num_epochs"
    if step > num_steps:
        raise ValueError(f"{length}, but the run in {run_dir} is at step {step}: use a larger one")
    deciding = [change for change in changes if not change.is_free]
    if deciding and step == num_steps:
        raise ValueError(
            f"{_differs(deciding[0], run_dir)}{_and_also(deciding[1:])}, and is complete at step {step}, so nothing "
            f"would be trained with it: use the old value, or {longer}"
        )
    changes = [*_edit(run_dir), *changes]
    if changes and jax.process_index() == 0:
        print(f"From step {step} on: {listed(changes)}{_new_schedule(changes, asked)}", file=sys.stderr)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    history = read_history(run_dir)
    history += [{"step": step, "time": now} | change._asdict() for change in changes]
    return {**asked, HISTORY: history} if history else dict(asked)


def read_history(run_dir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the recorded changes, oldest first: `step`, `time`, `field`, `old` and `new`."""
    return load_yaml((run_dir / RUN_CONFIG).read_text(encoding="utf-8")).get(HISTORY, [])


def _edit(run_dir: pathlib.Path) -> list[Change]:
    """Returns the change of `config.yaml` as a whole since the run wrote it; none if it is unchanged."""
    path = run_dir / RUN_CONFIG
    content = path.read_bytes() if path.is_file() else b""
    return [Change(RUN_CONFIG, "as written", "as edited")] if is_changed(content) else []


def _spelt_out(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields two configs; fields of the optimizer that are null in one of them have there what null stands for."""
    before, after = (fields.get("optimizer") or {} for fields in (old, new))
    if not isinstance(before, Mapping):  # damaged
        yield from (old, new)
        return
    for fields, own, other in ((old, before, after), (new, after, before)):
        is_adafactor = own.get("name", OptimizerConfig.name) == "adafactor"
        null = {"factored": "large" if fields.get("revision") == FIRST_REVISION else "stacked"}
        null = null if is_adafactor else {"beta1": DEFAULT_ADAM_BETA1}
        meant = {name: value for name, value in null.items() if own.get(name) is None and other.get(name) is not None}
        yield {**fields, "optimizer": {**own, **meant}} if meant else fields


def _differences(name: str, old: Any, new: Any, default: Any) -> Iterator[Change]:
    """Yields every field in which two configs differ; `default` is for fields missing in the old one."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        if old != new:
            yield Change(name, old, new)
        return
    defaults = default if isinstance(default, Mapping) else {}
    for key in dict.fromkeys([*new, *old]):
        known = as_plain(TaskConfig()) if name.endswith("mixture.tasks") else defaults.get(key)
        yield from _differences(f"{name}.{key}".lstrip("."), old.get(key, defaults.get(key)), new.get(key), known)


def _is_in(field: str, sections: Iterable[str]) -> bool:
    return any(f"{field}.".startswith(f"{section}.") for section in sections)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}..."


def _differs(change: Change, run_dir: pathlib.Path) -> str:
    return f"{change.field} is {_shown(change.new)}, but the run in {run_dir} was started with {_shown(change.old)}"


def _and_also(changes: Iterable[Change]) -> str:
    return "".join(f"; {change.field} is {_shown(change.new)}, not {_shown(change.old)}" for change in changes)


def _new_schedule(changes: Iterable[Change], asked: Mapping[str, Any]) -> str:
    schedule = asked["optimizer"]["schedule"]
    if schedule not in ("linear", "cosine") or all(change.field != "train.num_steps" for change in changes):
        return ""
    return f"; the learning rate follows the {schedule} schedule to the new last step"
