# SPDX-License-Identifier: Apache-2.0
"""Profiling: a trace of a few steps of a run."""

import pathlib
from collections.abc import Iterator
from typing import TypeVar

import jax

FIRST_STEP, NUM_STEPS = 3, 3  # of this process, so that compilation is not traced

Batch = TypeVar("Batch")


def traced(batches: Iterator[Batch], directory: pathlib.Path) -> Iterator[Batch]:
    """Yields the batches of a run; writes a profiler trace of the steps that take some of them to a directory."""
    for step, batch in enumerate(batches, start=1):
        if step == FIRST_STEP:
            jax.profiler.start_trace(str(directory))
        elif step == FIRST_STEP + NUM_STEPS:
            jax.profiler.stop_trace()
        yield batch
