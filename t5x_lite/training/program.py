# SPDX-License-Identifier: Apache-2.0
"""The program of a run: the model, the mesh, and the jitted functions that initialise and update the state.

It depends only on the config, the devices and the vocabulary size: a pod runs exactly what was compiled ahead of time.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from t5x_lite.config import ModelConfig, OptimizerConfig, RunConfig
from t5x_lite.model.architectures import Architecture, abstract
from t5x_lite.model.presets import resolve_model
from t5x_lite.optim import make_optimizer, state_axes
from t5x_lite.parallel import xla_options
from t5x_lite.parallel.mesh import (
    batch_sharding,
    check_batch_size,
    parameter_axes,
    replicated,
    shardings,
)
from t5x_lite.training.resolve import Run
from t5x_lite.training.step import TrainState, init_state, train_step

Step = Callable[[TrainState, Mapping[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]


class Program(NamedTuple):
    """A run's model, mesh and jitted functions."""

    architecture: Architecture
    model: ModelConfig
    mesh: Mesh
    tx: optax.GradientTransformation
    shapes: TrainState  # of jax.ShapeDtypeStruct with shardings
    init: Callable[[], TrainState]  # makes the initial state
    step: Step  # jitted `train_step`; donates its state

    @property
    def description(self) -> dict[str, Any]:
        """The model's config and architecture, stored in every checkpoint."""
        return {"model": self.model.stored(), "architecture": self.architecture.as_json()}


def make_program(run: Run, mesh: Mesh, vocab_size: int, ids: tuple[int, int] = (0, 1)) -> Program:
    """Assembles the model and its optimizer; compiles nothing yet.

    Args:
      run: the run.
      mesh: the devices.
      vocab_size: rows of the embedding, for a new model.
      ids: padding and EOS, for a new model.
    """
    cfg, architecture, platform = run.config, run.examples.architecture, mesh.devices.flat[0].platform
    check_batch_size(mesh, cfg.train.batch_size, cfg.train.num_microbatches)
    pretrained = run.pretrained and run.pretrained.config
    model = resolve_model(
        cfg.model, vocab_size=vocab_size, train=cfg.train, platform=platform, pretrained=pretrained, ids=ids
    )
    axes = parameter_axes(abstract(model, architecture))
    tx = make_optimizer(_optimizer(cfg), cfg.train.num_steps, axes)
    spikes = None
    if cfg.train.skip_spikes_above is not None:
        from t5x_lite.training.spikes import no_spikes

        spikes = no_spikes()
    random_state = functools.partial(init_state, model, tx, cfg.seed, architecture, spikes)
    shapes = with_shardings(jax.eval_shape(random_state), axes, mesh)
    if mesh.size > mesh.shape["data"]:
        from t5x_lite.parallel.replication import check_sharded

        check_sharded(shapes, mesh)
    placed = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    step = jax.jit(
        functools.partial(train_step, tx=tx, cfg=cfg.train, seed=cfg.seed),
        donate_argnums=0,
        in_shardings=(placed, batch_sharding(mesh)),
        out_shardings=(placed, replicated(mesh)),
        compiler_options=xla_options.for_long_products(platform),
    )
    init = jax.jit(random_state, out_shardings=placed, compiler_options=xla_options.for_init(platform))
    return Program(architecture, model, mesh, tx, shapes, init, step)


def _optimizer(cfg: RunConfig) -> OptimizerConfig:
    """Returns the optimizer's config, with the factoring of revision 1 for runs that follow it."""
    if cfg.follows_t5x or cfg.optimizer.name != "adafactor" or cfg.optimizer.factored is not None:
        return cfg.optimizer
    return dataclasses.replace(cfg.optimizer, factored="large")


def with_shardings(state: TrainState, axes: Any, mesh: Mesh) -> TrainState:
    """Adds shardings to a state of `jax.ShapeDtypeStruct`, from the logical axes of the parameters."""
    placed = state._replace(
        step=replicated(mesh),
        model=shardings(mesh, state.model, axes),
        opt_state=shardings(mesh, state.opt_state, state_axes(state.opt_state, state.model, axes)),
        nonfinite_steps=replicated(mesh),
        nonfinite_in_a_row=replicated(mesh),
        spikes=jax.tree.map(lambda _: replicated(mesh), state.spikes),
    )
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state, placed
    )
