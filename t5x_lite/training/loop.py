# SPDX-License-Identifier: Apache-2.0
"""A training run, from a config to a directory that explains itself. `train` is the whole job in a straight line."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.checkpoints.weights import LazyModel
from t5x_lite.config import ModelConfig, RunConfig
from t5x_lite.data.corpus.open import Corpora, Corpus
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import RunExamples, make_examples
from t5x_lite.data.examples import Examples, PackedPairs, Pairs
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.shapes import stack_lengths
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.evaluation.evaluator import Evaluation, check_metrics
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.svg_chart import line_chart
from t5x_lite.model.architectures import Architecture
from t5x_lite.optim import make_schedule
from t5x_lite.parallel import xla_options
from t5x_lite.parallel.mesh import device_batches, local_rows, make_mesh
from t5x_lite.parallel.multihost import HangWatch, first_alone
from t5x_lite.parallel.preemption import StopSignal
from t5x_lite.perf.flops import peak_flops, train_flops
from t5x_lite.training.init import begin, begin_optimizer, open_start
from t5x_lite.training.logging import Report, Stopwatch, read_rows
from t5x_lite.training.program import make_program
from t5x_lite.training.run_dir import RunDirectory
from t5x_lite.training.step import TrainState, state_of

COUNTERS = ("step", "nonfinite_steps", "nonfinite_in_a_row")
BLANKS = ("span_corruption", "iid_denoising", "ul2")  # objectives whose inputs have blanks
PROFILE_FIRST_STEP, PROFILE_NUM_STEPS = 3, 3  # counted from where the run goes on: compilation stays out of the trace


class Job(NamedTuple):
    """A run's config made concrete: what is computed, on what, where."""

    cfg: RunConfig
    tokenizer: Tokenizer
    corpora: Corpora
    examples: RunExamples
    architecture: Architecture
    model: ModelConfig
    mesh: Mesh
    shapes: TrainState  # of jax.ShapeDtypeStruct with shardings
    init: Callable[[], TrainState]
    step: Callable[[TrainState, Mapping[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]


def train(cfg: RunConfig, *, profile: bool = False) -> dict[str, float]:
    """Trains until `train.num_steps`, going on from the newest checkpoint in `run_dir` if there is one.

    SIGTERM and SIGINT end the run after the step under way, saved.

    Args:
      cfg: the run.
      profile: whether to write a trace of a few steps to `run_dir/profile`.

    Returns:
      The last evaluation's numbers, empty if the run was stopped before it.

    Raises:
      ValueError: if the config, the data or a checkpoint is wrong.
      FloatingPointError: if several gradients in a row were not finite.
      OSError: if the run directory cannot be written.
    """
    cfg, weights = open_start(cfg)
    with RunDirectory(cfg.run_dir) as directory, StopSignal() as stop:
        directory.check(cfg)
        make_mesh(cfg.mesh)  # says what is wrong with it before the text takes its time
        check_metrics(cfg.task)
        corpora = first_alone(lambda: prepare_corpora(cfg.task, directory.path, announce=announce))
        job = build(cfg, corpora, weights)
        directory.record(cfg)
        checkpoints = Checkpoints(directory.checkpoints, keep=cfg.checkpoint.keep)
        try:
            with jax.set_mesh(job.mesh):
                return train_loop(job, directory, checkpoints, stop, profile=profile)
        finally:
            checkpoints.close()


def announce(stage: str) -> None:
    """Says what is being prepared, in one process of several."""
    if jax.process_index() == 0:
        print(stage, file=sys.stderr)


def build(
    cfg: RunConfig, corpora: Corpora, weights: LazyModel | None = None, *, devices: Sequence[Any] | None = None
) -> Job:
    """Fits the parts of a run together; compiles nothing yet.

    Args:
      cfg: the run, as `starting.open_start` returns it.
      corpora: its text.
      weights: of the model to begin with, None for one drawn at random.
      devices: to run on; None takes all there are.

    Raises:
      ValueError: if the config does not fit together, or does not fit the devices.
    """
    tokenizer = next(iter(corpora.values())).tokenizer
    examples = make_examples(cfg, corpora)
    pretrained = None if weights is None else weights.config
    program = make_program(cfg, tokenizer.padded_vocab_size, pretrained, devices=devices)
    architecture, model, mesh, tx, shapes, init, step = program
    if weights is None:
        return Job(cfg, tokenizer, corpora, examples, architecture, model, mesh, shapes, init, step)

    def init_from_weights() -> TrainState:
        model = begin(shapes.model, architecture, weights, lambda: init().model)
        placed = jax.tree.map(lambda leaf: leaf.sharding, shapes)
        if cfg.optimizer.from_pretrained:
            step, opt_state = begin_optimizer(shapes.opt_state, weights)
            return jax.device_put(
                TrainState(step, model, opt_state, jnp.zeros_like(step), jnp.zeros_like(step)), placed
            )
        options = xla_options.for_init(mesh.devices.flat[0].platform)
        make_state = functools.partial(state_of, tx=tx)
        return jax.jit(make_state, donate_argnums=0, out_shardings=placed, compiler_options=options)(model)

    return Job(cfg, tokenizer, corpora, examples, architecture, model, mesh, shapes, init_from_weights, step)


def train_loop(
    job: Job, directory: RunDirectory, checkpoints: Checkpoints, stop: StopSignal, *, profile: bool = False
) -> dict[str, float]:
    """Steps, evaluates and saves until the run is complete or asked to stop; returns the last evaluation."""
    cfg, results = job.cfg, {}
    num_steps = cfg.train.num_steps
    state, first_example = restore_or_init(job, checkpoints)
    start = int(state.step)
    batches = train_batches(
        job.examples.train,
        batch_size=cfg.train.batch_size,
        data=cfg.data,
        convert=job.examples.convert,
        start_example=first_example,
        rows=local_rows(job.mesh, cfg.train.batch_size),
    )
    is_first = jax.process_index() == 0
    with (
        Report(directory.metrics, directory.tensorboard, step=start, num_steps=num_steps, enabled=is_first) as report,
        HangWatch() as hang_watch,
    ):
        report.say(describe_job(job, start))
        watch = Watch(job, report)
        evaluate = Evaluation(
            cfg, job.corpora, job.examples.eval, job.mesh, architecture=job.architecture, on_batch=hang_watch.alive
        )
        device = device_batches(batches, job.mesh)
        for step in range(start + 1, num_steps + 1):
            if profile:
                trace(directory, step - start)
            state, metrics = job.step(state, next(device))
            hang_watch.alive()
            watch.add(step, metrics)
            stops = stop.reached(step)
            if step % cfg.eval.every_steps == 0 or step == num_steps:
                watch.flush()
                results = evaluate(state.model)
                report.write(step, results)
                watch.restart_clock()
            if step % cfg.checkpoint.every_steps == 0 or step == num_steps or stops:
                watch.flush()
                seen = first_example + (step - start) * cfg.train.batch_size
                checkpoints.save(step, to_items(state), {"next_example": seen} | describe_model(job))
                watch.restart_clock()
            if stops:
                break
        watch.flush()
        checkpoints.wait()
        report.say(farewell(cfg, int(state.step), stop))
    if is_first:
        write_atomically(directory.plot, loss_plot(read_rows(directory.metrics)))
    return results


class Watch:
    """Reads each step's metrics one step late, so that the device always has the next step to work on.

    Args:
      job: the run.
      report: where rows go.
    """

    def __init__(self, job: Job, report: Report):
        self._job, self._report = job, report
        self._learning_rate = make_schedule(job.cfg.optimizer, job.cfg.train.num_steps)
        self._lengths = lengths_of(job.examples)
        self._stopwatch = Stopwatch()
        self._steps_timed = 0
        self._pending: tuple[int, dict[str, jax.Array]] | None = None

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of a step just launched, and reads those of the one before."""
        self.flush()
        self._pending = step, metrics

    def restart_clock(self) -> None:
        """Leaves what was done since the last row, such as compiling or an evaluation, out of the next one's speed."""
        self._stopwatch.lap()
        self._steps_timed = 0

    def flush(self) -> None:
        """Waits for the step launched last and reads its metrics.

        Raises:
          FloatingPointError: if the last few gradients were not finite.
        """
        if self._pending is None:
            return
        step, metrics = self._pending[0], jax.device_get(self._pending[1])
        self._pending = None
        self._steps_timed += 1
        self._report.advance(step)
        cfg = self._job.cfg.train
        in_a_row = int(metrics.pop("nonfinite_in_a_row"))
        if step % cfg.log_every_steps == 0 or step == cfg.num_steps or in_a_row == cfg.max_nonfinite_steps:
            scalars = {name: float(value) for name, value in metrics.items()} | self._speed()
            counts = {"nonfinite_steps": int(metrics["nonfinite_steps"])}
            rate = float(np.asarray(self._learning_rate(step - 1)))  # the schedule counts from 0
            self._report.write(step, scalars | counts | {"learning_rate": rate})
        if in_a_row >= cfg.max_nonfinite_steps:
            raise FloatingPointError(
                f"the gradients of the last {in_a_row} steps up to step {step} were not finite, so none of them was "
                f"used (train.max_nonfinite_steps is {cfg.max_nonfinite_steps}): lower optimizer.learning_rate "
                f"({self._job.cfg.optimizer.learning_rate}) or set optimizer.clip_norm, and run again"
            )

    def _speed(self) -> dict[str, float | None]:
        cfg = self._job.cfg.train
        seconds_per_step = self._stopwatch.lap() / max(self._steps_timed, 1)
        self._steps_timed = 0
        tokens = cfg.batch_size * sum(self._lengths)
        peak = peak_flops(self._job.mesh.devices.flat[0].device_kind)
        flops = cfg.batch_size * train_flops(self._job.model, *self._lengths, self._job.architecture)
        return {
            "seconds_per_step": seconds_per_step,
            "tokens_per_second": tokens / seconds_per_step,
            "mfu": None if peak is None else flops / seconds_per_step / (peak * self._job.mesh.size),
        }


def lengths_of(examples: RunExamples) -> tuple[int, int]:
    """Returns the tokens per example that the encoder and the decoder read."""
    first = np.zeros(1, np.int64)
    batch = examples.convert(examples.train(first, first))
    return stack_lengths({name: ids.shape for name, ids in batch.items()})


def describe_model(job: Job) -> dict[str, Any]:
    """Returns what a checkpoint says of its model, for `pretrained.load`."""
    return {"model": dataclasses.asdict(job.model), "architecture": job.architecture._asdict()}


def to_items(state: TrainState) -> dict[str, Any]:
    """Returns the items of a checkpoint: the model apart, so that it can be read alone."""
    counters = {name: getattr(state, name) for name in COUNTERS}
    return {"model": state.model, "optimizer": state.opt_state, "counters": counters}


def from_items(items: Mapping[str, Any]) -> TrainState:
    """The inverse of `to_items`."""
    return TrainState(model=items["model"], opt_state=items["optimizer"], **items["counters"])


def restore_or_init(job: Job, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """Returns the newest checkpoint's state, or a new one, and how many examples it has seen."""
    step = checkpoints.latest_step()
    if step is None:
        return job.init(), 0
    state = from_items(checkpoints.restore(step, to_items(job.shapes)))
    return state, checkpoints.meta(step)["next_example"]


def describe_job(job: Job, start: int) -> str:
    """Returns what is about to be trained, on what, in one line."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(job.shapes.model))
    mesh = " x ".join(f"{axis} {size}" for axis, size in job.mesh.shape.items() if size > 1) or "one device"
    kind = job.mesh.devices.flat[0].device_kind
    verb = f"Going on from step {start} of" if start else "Training"
    origin = f", begun as {job.cfg.model.pretrained}" if job.cfg.model.pretrained else ""
    text = ", ".join(
        (f"{name}: " if name else "") + describe_examples(examples, job.corpora[name])
        for name, examples in job.examples.tasks.items()
    )
    return (
        f"{verb} {parameters / 1e6:.1f}M parameters{origin} in {job.model.dtype} on {mesh} ({kind}), "
        f"{text}, run directory {job.cfg.run_dir}"
    )


def describe_examples(examples: Examples, corpus: Corpus) -> str:
    """Returns how much there is to learn from."""
    if isinstance(examples, PackedPairs):
        return f"{len(examples.pairs):,} pairs in {len(examples):,} rows{_cut(examples.pairs)}"
    if isinstance(examples, Pairs):
        return f"{len(examples):,} pairs{_cut(examples)}"
    return f"{len(corpus.train.tokens):,} tokens of text"


def _cut(pairs: Pairs) -> str:
    """How many are longer than they may be."""
    cut = pairs.too_long().sum(axis=0)
    return f" (cut off: {cut[0]:,} inputs, {cut[1]:,} targets)" if cut.any() else ""


def farewell(cfg: RunConfig, step: int, stop: StopSignal) -> str:
    """Returns how the run ended, and what can be done next."""
    if stop.requested and step < cfg.train.num_steps:
        return f"Stopped by {stop.requested} at step {step}, saved. The same command again goes on from there."
    use = "fills in blanks" if fills_in_blanks(cfg) else "answers lines of inputs"
    return (
        f"Complete at step {step}. A larger train.num_steps goes on; t5x-lite infer --checkpoint {cfg.run_dir} {use}."
    )


def fills_in_blanks(cfg: RunConfig) -> bool:
    """Whether lines with <extra_id_N> are what the model has learned from."""
    text = cfg.task.mixture is None and cfg.task.inputs is None
    return text and (cfg.task.objective in BLANKS or cfg.model.traits.fills_masks)


def trace(directory: RunDirectory, steps_made: int) -> None:
    """Starts and stops the profiler so that it sees a few steps after compilation."""
    if steps_made == PROFILE_FIRST_STEP:
        jax.profiler.start_trace(str(directory.profile))
    elif steps_made == PROFILE_FIRST_STEP + PROFILE_NUM_STEPS:
        jax.profiler.stop_trace()


def loss_plot(rows: list[dict[str, Any]]) -> str:
    """Returns the loss curves as an SVG document."""
    names = {
        "loss": "training loss",
        "eval/loss": "held-out loss",
        "eval/loss_text": "held-out, text only",
        "eval/unigram_text": "unigram entropy",
    }
    series = {
        shown: [(row["step"], row[name]) for row in rows if isinstance(row.get(name), float)]
        for name, shown in names.items()
    }
    return line_chart(series, title="Loss", x_label="step", y_label="nats a target token")
