# SPDX-License-Identifier: Apache-2.0
"""What a run computes, on which devices: its model, the mesh, and the compiled functions that make and advance it.

It is made of a config and the size of the vocabulary: a program that is compiled for a pod and the one that trains
there are the same.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from t5x_lite.config import ModelConfig, RunConfig
from t5x_lite.data.converters import class_labels
from t5x_lite.model.architectures import Architecture, abstract
from t5x_lite.model.presets import resolve_model
from t5x_lite.optim import make_optimizer, state_axes
from t5x_lite.parallel import xla_options
from t5x_lite.parallel.mesh import (
    batch_sharding,
    check_batch_size,
    check_cut,
    make_mesh,
    parameter_axes,
    replicated,
    shardings,
)
from t5x_lite.training.step import TrainState, init_state, train_step

Step = Callable[[TrainState, Mapping[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]


class Program(NamedTuple):
    """What a run computes."""

    architecture: Architecture
    model: ModelConfig
    mesh: Mesh
    tx: optax.GradientTransformation
    shapes: TrainState  # of jax.ShapeDtypeStruct with shardings
    init: Callable[[], TrainState]  # of random parameters; compiled
    step: Step  # compiled; its state is donated


def make_program(
    cfg: RunConfig,
    vocab_size: int,
    pretrained: ModelConfig | None = None,
    *,
    devices: Sequence[Any] | None = None,
) -> Program:
    """Fits the model, its optimizer and the mesh together; compiles nothing yet.

    Args:
      cfg: the run, as `starting.open_start` returns it.
      vocab_size: rows of the embedding.
      pretrained: of the model that training goes on with, if it does.
      devices: to run on; None takes all there are.

    Raises:
      ValueError: if the config does not fit together, or does not fit the devices.
    """
    mesh = make_mesh(cfg.mesh, devices)
    check_batch_size(mesh, cfg.train.batch_size, cfg.train.num_microbatches)
    platform = mesh.devices.flat[0].platform
    model = resolve_model(cfg.model, vocab_size=vocab_size, train=cfg.train, platform=platform, pretrained=pretrained)
    architecture = Architecture(cfg.model.architecture, class_labels(cfg))
    axes = parameter_axes(abstract(model, architecture))
    tx = make_optimizer(cfg.optimizer, cfg.train.num_steps, axes)
    draw = functools.partial(init_state, model, tx, cfg.seed, architecture)
    shapes = place(jax.eval_shape(draw), axes, mesh)
    check_cut(shapes, mesh)
    placed = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    step = jax.jit(
        functools.partial(train_step, tx=tx, cfg=cfg.train, seed=cfg.seed),
        donate_argnums=0,
        in_shardings=(placed, batch_sharding(mesh)),
        out_shardings=(placed, replicated(mesh)),
        compiler_options=xla_options.for_long_products(platform),
    )
    init = jax.jit(draw, out_shardings=placed, compiler_options=xla_options.for_init(platform))
    return Program(architecture, model, mesh, tx, shapes, init, step)


def place(state: TrainState, axes: Any, mesh: Mesh) -> TrainState:
    """Returns the shapes of a state with their shardings.

    Args:
      state: of `jax.ShapeDtypeStruct`.
      axes: of the parameters.
      mesh: the devices.
    """
    placed = state._replace(
        step=replicated(mesh),
        model=shardings(mesh, state.model, axes),
        opt_state=shardings(mesh, state.opt_state, state_axes(state.opt_state, state.model, axes)),
        nonfinite_steps=replicated(mesh),
        nonfinite_in_a_row=replicated(mesh),
    )
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, placed
    )
