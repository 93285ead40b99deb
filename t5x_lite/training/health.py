# SPDX-License-Identifier: Apache-2.0
"""Tells healthy checkpoints from those of a run that has diverged, and what to do about it."""

import bisect
import math
import pathlib
import shlex
from collections.abc import Mapping, Sequence

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.config import RunConfig
from t5x_lite.files.metrics_file import METRICS, losses_of, read_rows

MARGIN = 1.0  # nats per token above the lowest loss so far; a model that has forgotten everything is further away
SLOWER = 0.5  # factor of the learning rate in the suggested command

Losses = Mapping[tuple[int, str], float]  # by step and name, `loss` or `eval/loss`, in the order they were logged


def newest_sane(steps: Sequence[int], losses: Losses) -> int | None:
    """Returns the newest of the steps whose parameters had a sane loss; None if there is none.

    The loss that judges a step is that of the evaluation after it, or else of the next logged training step, because
    what a step logs is the loss before its update. A loss is sane if it is finite and at most `MARGIN` above the lowest
    one before it.
    """
    best: dict[str, float] = {}
    sane: dict[tuple[int, str], bool] = {}
    for (step, name), loss in losses.items():
        sane[step, name] = math.isfinite(loss) and loss <= best.get(name, loss) + MARGIN
        best[name] = min(best.get(name, math.inf), loss if math.isfinite(loss) else math.inf)
    trained = sorted(step for step, name in sane if name == "loss")
    for step in sorted(steps, reverse=True):
        after = trained[bisect.bisect_right(trained, step) :][:1]
        if sane.get((step, "eval/loss"), bool(after) and sane[after[0], "loss"]):
            return step
    return None


def divergence(
    cfg: RunConfig, checkpoints: Checkpoints, losses: Losses, step: int, num_skipped: int
) -> FloatingPointError:
    """Returns the error of a run whose last updates up to `step` were skipped."""
    steps = f"gradients of the last {num_skipped} steps" if num_skipped > 1 else "gradients of the last step,"
    is_end = num_skipped < cfg.train.max_nonfinite_steps
    limit = "" if is_end else f" (train.max_nonfinite_steps is {cfg.train.max_nonfinite_steps})"
    length = "num_steps" if cfg.train.num_epochs is None else "num_epochs"
    longer = f", or to train past them raise train.{length}," if is_end else ""
    return FloatingPointError(
        f"the {steps} up to step {step} were not finite, so their updates were skipped and not saved{limit}: lower "
        f"optimizer.learning_rate ({cfg.optimizer.learning_rate:g}) or set optimizer.clip_norm{longer} "
        f"{_go_on(cfg, newest_sane(checkpoints.steps(), losses))}"
    )


def on_risen_loss(cfg: RunConfig, steps: Sequence[int]) -> str:
    """Returns a line on the last checkpoint with a sane loss, if it is kept beside the newest; "" if it is not."""
    rows, losses = read_rows(pathlib.Path(cfg.run_dir) / METRICS), {}
    for row in rows:
        losses |= losses_of(row["step"], row)
    step = newest_sane(steps, losses)
    if step is None or step in steps[-cfg.checkpoint.keep :]:
        return ""
    return (
        f"\nThe loss has risen: step {step} is the last one with a sane loss, and its checkpoint is kept. Lower "
        f"optimizer.learning_rate {_go_on(cfg, step)}"
    )


def _go_on(cfg: RunConfig, step: int | None) -> str:
    """Returns the end of a sentence on how to go on from the checkpoint of a step."""
    if step is None:
        return "and start again in another run_dir, because there is no checkpoint from before"
    return (
        f"and go on from the checkpoint of step {step}: t5x-lite train --config "
        f"{shlex.quote(cfg.run_dir + '/config.yaml')} --from_step {step} --optimizer.learning_rate "
        f"{cfg.optimizer.learning_rate * SLOWER * _share(cfg, step):.3g} --allow_changes"
    )


def _share(cfg: RunConfig, step: int) -> float:
    """Returns the learning rate at a step as a share of the last one, at most 1."""
    rows = read_rows(pathlib.Path(cfg.run_dir) / METRICS)
    rates = [(row["step"], row["learning_rate"]) for row in rows if "learning_rate" in row]
    before = [rate for logged, rate in rates if logged <= step]
    return min(1.0, before[-1] / rates[-1][1]) if before and rates[-1][1] else 1.0
