# SPDX-License-Identifier: Apache-2.0
"""Checks of a start, before anything is written, trained or tokenised."""

import dataclasses
import functools
import itertools
import math
import pathlib
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax

from t5x_lite.config import RunConfig
from t5x_lite.config.run import MAX_STEP
from t5x_lite.data.corpus.open import is_prepared
from t5x_lite.data.dataset import ExampleSpec
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.data.tokenizers import KIND_FILE, Tokenizer, build_tokenizer, load_tokenizer
from t5x_lite.data.tokenizers.base import T5_IDS, padded_rows
from t5x_lite.data.tokenizers.train import count_pieces
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.parallel.multihost import process_0_first
from t5x_lite.training.init import to_items
from t5x_lite.training.program import Program, make_program
from t5x_lite.training.resolve import Run
from t5x_lite.training.run_dir import RunDirectory
from t5x_lite.training.step import TrainState

Programs = Callable[[int, tuple[int, int], int], Program]  # from the embedding's rows, padding and EOS, steps


def check_start(run: Run, directory: RunDirectory, *, allow_changes: bool = False) -> Programs:
    """Raises ValueError for each mistake that shows before the text is prepared; writes nothing.

    Returns the function that makes the run's program, which has made the one with the vocabulary that is expected.
    """
    directory.check_place()
    directory.check(run.config, allow_changes=allow_changes)
    programs = programs_of(run)
    more = {}
    if any(single.metrics for single in run.tasks.each.values()):
        from t5x_lite.evaluation.metric_checks import check_held_out, check_metrics

        check_metrics(run.tasks)
        more["check_held_out"] = functools.partial(check_held_out, cfg=run.config)
    tokenizer = known_tokenizer(run.tasks, directory.path)
    check_lengths(run.examples, tokenizer)
    program = expected_program(run, tokenizer, programs)
    if program.model.attention == "fused":
        check_fused(program, run.examples)
    check_space(program.shapes, run.config, directory)
    if not is_prepared(run.tasks, directory.path):
        from t5x_lite.data.corpus.first_look import check_text

        process_0_first(lambda: check_text(run.tasks, **more))
    return programs


def programs_of(run: Run) -> Programs:
    """Returns the function that makes a program of a run; raises ValueError if the devices do not suit the mesh."""
    mesh = make_mesh(run.config.mesh)

    def program(vocab_size: int, ids: tuple[int, int], num_steps: int) -> Program:
        train = dataclasses.replace(run.config.train, num_steps=num_steps, num_epochs=None)
        return make_program(run._replace(config=dataclasses.replace(run.config, train=train)), mesh, vocab_size, ids)

    return functools.cache(program)


def expected_program(run: Run, tokenizer: Tokenizer | None, programs: Programs) -> Program:
    """Returns the program of a run whose tokenizer may still be untrained, and whose steps may not be counted yet."""
    cfg, num_steps = run.tasks.tokenizer, run.config.train.num_steps or MAX_STEP
    if tokenizer is None:
        count_pieces(cfg.vocab_size, cfg.num_sentinels)
        return programs(padded_rows(cfg.vocab_size + len(cfg.added_tokens or ())), T5_IDS[:2], num_steps)
    return programs(tokenizer.padded_vocab_size, tokenizer.special_ids[:2], num_steps)


def known_tokenizer(tasks: TaskSpecs, run_dir: pathlib.Path) -> Tokenizer | None:
    """Returns a run's tokenizer, from its directory or prepared text if there is any; None if it is still untrained."""
    prepared = [pathlib.Path(single.prepared) for single in tasks.each.values() if single.prepared is not None]
    for home in (run_dir, *prepared, *(directory.parent for directory in prepared)):
        if (home / KIND_FILE).is_file():
            return load_tokenizer(home)
    is_trained = tasks.tokenizer.path is not None or tasks.tokenizer.kind != "sentencepiece"
    return build_tokenizer(tasks.tokenizer, ()) if is_trained else None


def check_lengths(spec: ExampleSpec, tokenizer: Tokenizer | None) -> None:
    """Raises ValueError unless the lengths and the architecture suit the objectives of all tasks."""
    asked = spec.tasks.tokenizer
    sizes = {"vocab_size": asked.vocab_size, "num_sentinels": asked.num_sentinels}
    functions = {"sentinel_id": lambda n: asked.vocab_size - 1 - n, "encode": lambda text: [T5_IDS.unk]}
    ids = {f"{name}_id": value for name, value in T5_IDS._asdict().items()}
    stand_in: Any = tokenizer or SimpleNamespace(**sizes, **functions, **ids)
    if tokenizer is not None or not spec.architecture.labels:
        spec.converter(stand_in)
    for task in spec.tasks.each.values():
        if task.inputs is not None:
            from t5x_lite.data.pairs import check_targets_length

            check_targets_length(spec)
        elif task.prepared is None:
            lengths = {"inputs_length": spec.inputs_length, "targets_length": spec.targets_length}
            make_objectives(task, stand_in, seed=spec.seed, **lengths)


def check_fused(program: Program, spec: ExampleSpec) -> None:
    """Raises ValueError unless attention can be fused on these devices and for the lengths of this run."""
    from t5x_lite.data.converters import stack_lengths
    from t5x_lite.data.shapes import feature_shapes
    from t5x_lite.model.kernels.choice import is_fused

    lengths = [length for length in stack_lengths(feature_shapes(spec)) if length]
    with jax.set_mesh(program.mesh):
        for queries, keys in itertools.product(lengths, lengths):
            is_fused(program.model, queries, keys)


def check_space(state: TrainState, cfg: RunConfig, directory: RunDirectory) -> None:
    """Raises ValueError unless the disk has room for the checkpoints that a run keeps.

    There may be one beside the newest: the last sane one, or in a healthy run the oldest while the next is written.
    """
    size = checkpoint_bytes(state)
    count = min(cfg.checkpoint.keep + 1, -(-(cfg.train.num_steps or MAX_STEP) // cfg.checkpoint.every_steps))
    free = shutil.disk_usage(directory.nearest()).free
    if size * count > free:
        from t5x_lite.training.place import check_held

        check_held(directory.path, directory.checkpoints, count, size, free)


def checkpoint_bytes(state: TrainState) -> int:
    """Returns the size of a checkpoint, parameters and optimizer state, from the shapes of a state."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(to_items(state)))
