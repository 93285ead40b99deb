# SPDX-License-Identifier: Apache-2.0
"""Summaries at the start and the end of a run, and the loss curve."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax

from t5x_lite.config import RunConfig
from t5x_lite.data.corpus.open import Corpus
from t5x_lite.data.examples import Examples
from t5x_lite.files.svg_chart import line_chart
from t5x_lite.training.resolve import Run

if TYPE_CHECKING:
    from t5x_lite.training.loop import Job

SPAN_FILLING = ("span_corruption", "iid_denoising", "ul2")  # objectives whose inputs have blanks to fill


def describe_start(job: "Job", start: int) -> str:
    """Returns a line on what is trained, from which step and on which devices, and on what may surprise the user."""
    cfg, program = job.run.config, job.program
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(program.shapes.model))
    mesh = " x ".join(f"{axis} {size}" for axis, size in program.mesh.shape.items() if size > 1) or "one device"
    device_kind = program.mesh.devices.flat[0].device_kind
    verb = f"Resuming from step {start}:" if start else "Training"
    origin = f" from {cfg.model.pretrained}" if cfg.model.pretrained else ""
    text = ", ".join(
        (f"{name}: " if name else "") + _describe_examples(examples, job.corpora[name])
        for name, examples in job.examples.tasks.items()
    )
    return (
        f"{verb} {num_parameters / 1e6:.1f}M parameters{origin} in {program.model.dtype} on {mesh} ({device_kind}), "
        f"{text}, run directory {cfg.run_dir}{_revision(cfg)}{_long_warmup(cfg)}"
        + "".join(f"\n{note}" for note in job.run.notes)
    )


def _revision(cfg: RunConfig) -> str:
    return "" if cfg.follows_t5x else f", revision {cfg.revision} of the rules for examples and optimizer states"


def _long_warmup(cfg: RunConfig) -> str:
    if cfg.optimizer.schedule != "constant" or cfg.optimizer.warmup_steps <= cfg.train.num_steps:
        return ""  # the other schedules refuse it, or have no warmup
    from t5x_lite.training.remarks import on_long_warmup

    return on_long_warmup(cfg)


def _describe_examples(examples: Examples, corpus: Corpus) -> str:
    if not corpus.has_pairs:
        return f"{len(corpus.train.tokens):,} tokens of text"
    from t5x_lite.training.remarks import describe_pairs

    return describe_pairs(examples)


def describe_end(run: Run, step: int, signal: str | None, saved: Sequence[int], num_epochs: float | None = None) -> str:
    """Returns one line on how a run ended and what to do next.

    Args:
      signal: the signal that stopped the run, if any.
      saved: the steps of the checkpoints, in order.
      num_epochs: the `train.num_epochs` from which the number of steps was counted, if any.
    """
    cfg = run.config
    if signal and step < cfg.train.num_steps:
        until = "" if step in saved else f" up to step {max(saved, default=0)}, since when updates are skipped"
        return f"Stopped by {signal} at step {step}, saved{until}. Run the same command again to resume."
    use = "fills in blanks" if _fills_blanks(run) else "answers each line of its input"
    risen = ""
    if len(saved) > cfg.checkpoint.keep:
        from t5x_lite.training.health import on_risen_loss

        risen = on_risen_loss(cfg, saved)
    length = "train.num_steps" if num_epochs is None else "train.num_epochs"
    return (
        f"Complete at step {step}. Raise {length} to continue; t5x-lite infer --checkpoint {cfg.run_dir} {use}.{risen}"
    )


def _fills_blanks(run: Run) -> bool:
    """Returns whether the model was trained to fill in blanks in text."""
    task = run.tasks.whole
    is_text = task.mixture is None and task.inputs is None
    return is_text and (task.objective in SPAN_FILLING or run.examples.architecture.traits.fills_masks)


def loss_curve(rows: Sequence[Mapping[str, Any]], *, with_unigrams: bool) -> str:
    """Plots the losses in rows of metrics as an SVG document.

    The unigram entropy, what a model of text can reach without looking at its inputs, means little for targets of a
    task: `with_unigrams` is for text.
    """
    names = {
        "loss": "training loss",
        "eval/loss": "held-out loss",
        "eval/loss_text": "held-out, text only",
    } | ({"eval/unigram_text": "unigram entropy"} if with_unigrams else {})
    series = {
        label: [(row["step"], row[name]) for row in rows if isinstance(row.get(name), float)]
        for name, label in names.items()
    }
    series = {label: points for label, points in series.items() if points}
    return line_chart(series, title="Loss", x_label="step", y_label="nats per target token")
