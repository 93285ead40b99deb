# SPDX-License-Identifier: Apache-2.0
"""The training loop: `train` is a complete run, from its config to its last checkpoint."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from t5x_lite.checkpoints.orbax import TOKENIZER, Checkpoints
from t5x_lite.config import RunConfig
from t5x_lite.data.corpus.open import Corpora, tokenizer_of
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import RunExamples, make_examples, row_lengths
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.tokenizers import file_checksums
from t5x_lite.evaluation.evaluator import Evaluation
from t5x_lite.evaluation.results import prefix
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.metrics_file import read_rows
from t5x_lite.parallel.mesh import device_batches, local_rows
from t5x_lite.parallel.multihost import Watchdog, process_0_first
from t5x_lite.parallel.preemption import StopSignal
from t5x_lite.training.init import restore_or_init, to_items
from t5x_lite.training.logging import RunLogger, StepLogger
from t5x_lite.training.preflight import Programs, check_start
from t5x_lite.training.program import Program
from t5x_lite.training.resolve import Run, resolve_run
from t5x_lite.training.run_dir import RunDirectory
from t5x_lite.training.step import TrainState
from t5x_lite.training.summary import describe_end, describe_start, loss_curve


class Job(NamedTuple):
    """A run with its text, examples and compiled functions."""

    run: Run
    corpora: Corpora
    examples: RunExamples
    program: Program


class Results(dict[str, float]):
    """The results of the last evaluation, if any; `is_complete` is False if a signal stopped the run at `step`."""

    def __init__(self, results: Mapping[str, float], *, step: int, is_complete: bool):
        super().__init__(results)
        self.step, self.is_complete = step, is_complete


def train(
    cfg: RunConfig, *, profile: bool = False, allow_changes: bool = False, from_step: int | str | None = None
) -> Results:
    """Trains until `train.num_steps`, resuming from the newest checkpoint in `run_dir` if there is one.

    On SIGTERM, and on SIGINT once the first step has begun, finishes the current step, saves a checkpoint and returns.

    Args:
      cfg: the config of the run.
      profile: whether to write a profiler trace of a few steps to `run_dir/profile`.
      allow_changes: whether an existing run may continue with a config that changes its numbers.
      from_step: the step to go back to, whose checkpoint must exist, or `latest_whole`; what is newer is set aside.

    Returns:
      The results of the last evaluation; their `is_complete` is False if a signal stopped the run.

    Raises:
      ValueError: if the config, the data or a checkpoint is invalid, or the config is not that of the run in `run_dir`.
      FloatingPointError: if the gradients of the last `train.max_nonfinite_steps` steps were not finite.
      OSError: if the run directory cannot be written.
    """
    check_from_step(cfg, from_step)
    run, directory = resolve_run(cfg), RunDirectory(cfg.run_dir)
    programs = check_start(run, directory, allow_changes=allow_changes)
    results = {}
    with directory, StopSignal() as stop, contextlib.ExitStack() as stack:
        num_epochs = run.config.train.num_epochs
        job = prepare(run, directory, programs, allow_changes=allow_changes)
        run, cfg, num_steps = job.run, job.run.config, job.run.config.train.num_steps
        checkpoints = stack.enter_context(open_checkpoints(directory, cfg, from_step))
        stack.enter_context(jax.set_mesh(job.program.mesh))
        state, first_example = restore_or_init(job.program, checkpoints)
        start, description = int(state.step), job.program.description | {TOKENIZER: file_checksums(directory.path)}
        directory.record(run.config, start, num_epochs)
        logger = stack.enter_context(open_logger(job, directory, start))
        watchdog = stack.enter_context(Watchdog())
        logger.print(describe_start(job, start))
        checkpoints.spare = logger.newest_sane
        step_logger = StepLogger(logger, job.program, cfg, row_lengths(job.examples), checkpoints)
        evaluate = make_evaluation(job, watchdog, logger)
        batches = open_batches(job, first_example, directory.profile if profile else None)
        stop.begin()
        if start and cfg.evaluates_at(start) and not logger.has_evaluation(start):  # the run was killed meanwhile
            results = record_evaluation(evaluate, state, step_logger)
        for step in range(start + 1, num_steps + 1):
            state, metrics = job.program.step(state, next(batches))
            watchdog.heartbeat()
            step_logger.add(step, metrics)
            stops = stop.reached(step)
            if step % cfg.checkpoint.every_steps == 0 or step == num_steps or stops:
                next_example = first_example + (step - start) * cfg.train.batch_size
                save(checkpoints, state, {"next_example": next_example} | description, step_logger)
            if cfg.evaluates_at(step):  # after saving, so that a kill meanwhile costs no steps
                results = record_evaluation(evaluate, state, step_logger)
            if stops:
                break
        checkpoints.wait()
        logger.print(describe_end(run, int(state.step), stop.requested, checkpoints.steps(), num_epochs))
        draw_losses(job, directory)
    return Results(results, step=int(state.step), is_complete=int(state.step) >= num_steps)


def prepare(run: Run, directory: RunDirectory, programs: Programs, *, allow_changes: bool) -> Job:
    """Prepares the text of a run in its locked directory."""
    directory.check(run.config, allow_changes=allow_changes)  # again, now that no other process writes to it
    corpora = process_0_first(lambda: prepare_corpora(run.tasks, directory.path, announce=_announce))
    return make_job(run, programs, corpora)


def _announce(stage: str) -> None:
    if jax.process_index() == 0:
        print(stage, file=sys.stderr)


def make_job(run: Run, programs: Programs, corpora: Corpora) -> Job:
    """Assembles the parts of a run from its prepared text; compiles nothing yet."""
    examples = make_examples(run.examples, corpora)
    if run.config.train.num_epochs is not None:
        from t5x_lite.training.epochs import with_num_steps

        run = with_num_steps(run, examples)
    tokenizer = tokenizer_of(corpora)
    program = programs(tokenizer.padded_vocab_size, tokenizer.special_ids[:2], run.config.train.num_steps)
    if run.pretrained is not None:
        from t5x_lite.training.pretrained import pretrained_init

        init = pretrained_init(program, run.pretrained, with_optimizer=run.config.optimizer.from_pretrained)
        program = program._replace(init=init)
    return Job(run, corpora, examples, program)


def open_logger(job: Job, directory: RunDirectory, start: int) -> RunLogger:
    """Opens the logger, which does not show what the frequencies of tokens would do for targets that have inputs."""
    return RunLogger(
        directory,
        start=start,
        num_steps=job.run.config.train.num_steps or 0,
        enabled=jax.process_index() == 0,
        not_shown=[f"{prefix(name)}unigram_text" for name, corpus in job.corpora.items() if corpus.has_pairs],
    )


def make_evaluation(job: Job, watchdog: Watchdog, logger: RunLogger) -> Evaluation:
    """Returns the evaluation on a run's held-out examples, some of which the logger gets with their predictions."""
    return Evaluation(
        corpora=job.corpora,
        examples=job.examples.eval,
        convert=job.examples.convert,
        architecture=job.program.architecture,
        mesh=job.program.mesh,
        batch_size=job.run.config.train.batch_size,
        num_batches=job.run.config.eval.num_batches,
        on_batch=watchdog.heartbeat,
        on_examples=logger.keep_examples,
    )


def check_from_step(cfg: RunConfig, from_step: int | str | None) -> None:
    """Raises ValueError if a run cannot go back to a step; writes nothing."""
    if from_step is not None:
        from t5x_lite.training.going_back import check

        check(cfg, from_step)


def open_checkpoints(
    directory: RunDirectory, cfg: RunConfig, from_step: int | str | None
) -> contextlib.closing[Checkpoints]:
    """Opens the checkpoints of a run, of which that of `from_step`, if given, becomes the newest."""
    if from_step is not None:
        from t5x_lite.training.going_back import go_back

        process_0_first(lambda: go_back(directory, cfg, from_step))
    return contextlib.closing(Checkpoints(directory.checkpoints, keep=cfg.checkpoint.keep))


def save(checkpoints: Checkpoints, state: TrainState, meta: Mapping[str, Any], step_logger: StepLogger) -> None:
    """Saves a state, unless its last update was skipped: the parameters that lead nowhere must not replace others."""
    step_logger.flush()
    if not step_logger.is_skipping:
        checkpoints.save(int(state.step), to_items(state), meta)
    step_logger.restart_clock()


def record_evaluation(evaluate: Evaluation, state: TrainState, step_logger: StepLogger) -> dict[str, float]:
    """Logs and returns the results of a state's model on the held-out examples."""
    step_logger.flush()
    results = evaluate(state.model)
    step_logger.write_evaluation(int(state.step), results)
    return results


def draw_losses(job: Job, directory: RunDirectory) -> None:
    """Draws the loss curves of a run, in process 0 only."""
    if jax.process_index() == 0:
        is_text = not any(corpus.has_pairs for corpus in job.corpora.values())
        write_atomically(directory.plot, loss_curve(read_rows(directory.metrics), with_unigrams=is_text))


def open_batches(job: Job, first_example: int, profile: pathlib.Path | None) -> Iterator[Mapping[str, jax.Array]]:
    """Returns the training batches from `first_example` on, placed on the devices; steps are traced to `profile`."""
    batch_size = job.run.config.train.batch_size
    batches = train_batches(
        job.examples.train,
        batch_size=batch_size,
        data=job.run.config.data,
        convert=job.examples.convert,
        start_example=first_example,
        rows=local_rows(job.program.mesh, batch_size),
    )
    placed = device_batches(batches, job.program.mesh)
    if profile is None:
        return placed
    from t5x_lite.training.profile import traced

    return traced(placed, profile)
