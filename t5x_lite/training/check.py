# SPDX-License-Identifier: Apache-2.0
"""`train --check`: everything that can be known before a run starts, and what the run would be."""

import jax

from t5x_lite.config import RunConfig
from t5x_lite.data.converters import stack_lengths
from t5x_lite.data.corpus.manifest import in_words
from t5x_lite.data.corpus.open import is_prepared
from t5x_lite.data.shapes import feature_shapes
from t5x_lite.training.loop import check_from_step
from t5x_lite.training.preflight import check_start, checkpoint_bytes, expected_program, known_tokenizer
from t5x_lite.training.program import Program
from t5x_lite.training.resolve import Run, resolve_run
from t5x_lite.training.run_dir import RunDirectory


def check(cfg: RunConfig, *, allow_changes: bool = False, from_step: int | str | None = None) -> str:
    """Checks a config as a start does, and returns what was checked and the shape of the run; writes nothing.

    Raises ValueError for the first mistake.
    """
    check_from_step(cfg, from_step)
    run, directory = resolve_run(cfg), RunDirectory(cfg.run_dir)
    programs = check_start(run, directory, allow_changes=allow_changes)
    program = expected_program(run, known_tokenizer(run.tasks, directory.path), programs)
    return "\n".join([_checked(run, directory), *_shape(run, program), *run.notes])


def _checked(run: Run, directory: RunDirectory) -> str:
    text = ", ".join(f"{f'{name}: ' if name else ''}{in_words(task)}" for name, task in run.tasks.each.items())
    seen = "the prepared text" if is_prepared(run.tasks, directory.path) else f"the first records of {text}"
    state = "a run to resume" if directory.config.is_file() else "new"
    return (
        f"No mistake found in the config, run_dir {directory.path} ({state}) and the space on its disk, the devices, "
        f"and {seen}"
    )


def _shape(run: Run, program: Program) -> list[str]:
    cfg, shapes = run.config, program.shapes
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes.model)) / 1e6
    inputs, targets = stack_lengths(feature_shapes(run.examples))
    mesh = " x ".join(f"{axis} {count}" for axis, count in program.mesh.shape.items() if count > 1) or "one device"
    kind = program.mesh.devices.flat[0].device_kind
    steps = f"{cfg.train.num_epochs:g} epochs" if cfg.train.num_epochs else f"{cfg.train.num_steps:,} steps"
    origin = cfg.model.pretrained or cfg.model.preset
    rate = f"{cfg.optimizer.name}, {cfg.optimizer.schedule} learning rate {cfg.optimizer.learning_rate:g}"
    return [
        f"model    {size:,.1f}M parameters in {program.model.dtype}: {program.architecture.name}, from {origin}",
        f"batch    {cfg.train.batch_size} sequences of {inputs} encoder and {targets} decoder tokens, in "
        f"{cfg.train.num_microbatches} microbatches, on {mesh} ({kind})",
        f"steps    {steps} of {rate}; an evaluation every {cfg.eval.every_steps:,}",
        f"disk     {cfg.checkpoint.keep} checkpoints of {checkpoint_bytes(shapes) / 1e6:,.1f} MB, one every "
        f"{cfg.checkpoint.every_steps:,} steps",
    ]
