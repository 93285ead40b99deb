# SPDX-License-Identifier: Apache-2.0
"""Compiles a run's program from its config, for devices that need not be present."""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from t5x_lite.config.architectures import ENCODER_DECODER
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.shapes import feature_shapes, padding_and_eos, vocab_rows
from t5x_lite.inference.loop import encode_and_decode
from t5x_lite.inference.params import make_decode_spec, make_sampling_params
from t5x_lite.parallel.mesh import batch_sharding, make_mesh
from t5x_lite.parallel.xla_options import for_absent_gpus
from t5x_lite.training.program import Program, make_program
from t5x_lite.training.resolve import Run


class Compiled(NamedTuple):
    """A compiled program."""

    program: Program
    features: dict[str, tuple[int, ...]]  # the shapes of one row of a batch
    executable: Any
    trace_seconds: float  # tracing and lowering
    compile_seconds: float


def compile_ahead(run: Run, what: str, devices: Sequence[Any] | None) -> Compiled:
    """Compiles a run's training step, or greedy decoding with its model.

    Args:
      what: train or generate.
      devices: the devices to compile for; None for those of this machine.
    """
    asked, num_epochs = run.tasks.tokenizer, run.config.train.num_epochs
    if num_epochs is not None:
        raise ValueError(
            f"train.num_epochs is {num_epochs:g}, but compile reads no text to count the steps of: give train.num_steps"
        )
    program = make_program(run, make_mesh(run.config.mesh, devices), vocab_rows(asked), padding_and_eos(asked))
    features = feature_shapes(run.examples)
    begin = time.perf_counter()
    with jax.set_mesh(program.mesh):
        lowered = {"train": _train, "generate": _generate}[what](run, program, features)
        lowered_at = time.perf_counter()
        try:
            executable = lowered.compile(None if devices is None else for_absent_gpus(devices[0].platform))
        except jax.errors.JaxRuntimeError as error:
            raise _too_large(error) from error
    return Compiled(program, features, executable, lowered_at - begin, time.perf_counter() - lowered_at)


def _train(run: Run, program: Program, features: dict[str, tuple[int, ...]]) -> Any:
    B = run.config.train.batch_size
    batch = {name: _rows(program, (B, *shape), np.int32) for name, shape in features.items()}
    step: Any = program.step
    return step.trace(program.shapes, batch).lower()


def _generate(run: Run, program: Program, features: dict[str, tuple[int, ...]]) -> Any:
    if program.architecture != ENCODER_DECODER:
        raise ValueError(
            f"what is generate, but model.architecture is {program.architecture.name}: use an encoder_decoder, or train"
        )
    num_steps, B = features["decoder_target_tokens"][0], run.config.train.batch_size
    configs = [GenerationConfig(max_new_tokens=num_steps)] * B
    spec = make_decode_spec(configs, vocab_size=program.model.vocab_size, num_steps=num_steps, model=program.model)
    params = make_sampling_params(configs, range(B), eos_id=program.model.eos_id)
    shapes = jax.tree.map(lambda array: _rows(program, np.shape(array), np.asarray(array).dtype), params)
    inputs = _rows(program, (B, run.examples.inputs_length), np.int32)
    return jax.jit(functools.partial(encode_and_decode, spec=spec)).trace(program.shapes.model, inputs, shapes).lower()


def _rows(program: Program, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(program.mesh))


def _too_large(error: Exception) -> ValueError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    memory = next((line for line in lines if "hbm" in line.lower()), lines[0] if lines else str(error))
    if "memory" not in str(error).lower() and "RESOURCE_EXHAUSTED" not in str(error):
        return ValueError(f"the compiler rejects the program: {memory.strip()}")
    return ValueError(
        f"the program does not fit the chip: {memory.strip()} Raise train.num_microbatches, set train.remat to full, "
        "lower train.batch_size, or shard the model over more chips with mesh.fsdp or mesh.tensor"
    )
