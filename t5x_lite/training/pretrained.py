# SPDX-License-Identifier: Apache-2.0
"""The initial state of a run that starts from a pretrained model. Other runs import neither this nor the readers."""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from t5x_lite.checkpoints.t5x.model import layer_axes
from t5x_lite.checkpoints.t5x.optimizer import opt_state_from_slots
from t5x_lite.checkpoints.weights import LazyModel, read_arrays
from t5x_lite.config.architectures import ENCODER as ENCODER_ALONE
from t5x_lite.config.architectures import ENCODER_DECODER, FROM_ENCODER, Architecture
from t5x_lite.parallel import xla_options
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves
from t5x_lite.training.program import Program
from t5x_lite.training.spikes import no_spikes
from t5x_lite.training.step import TrainState, state_of

ENCODER = "encoder/"  # the prefix that encoder-only models add to a T5's parameter names


def pretrained_init(program: Program, pretrained: LazyModel, *, with_optimizer: bool) -> Callable[[], TrainState]:
    """Returns a function that makes a run's initial state from a pretrained model.

    With `with_optimizer`, training continues from the pretrained optimizer state and step.
    """
    shapes, platform = program.shapes, program.mesh.devices.flat[0].platform
    placed = jax.tree.map(lambda leaf: leaf.sharding, shapes)

    def init() -> TrainState:
        spikes = None if shapes.spikes is None else no_spikes()
        model = pretrained_model(shapes.model, program.architecture, pretrained, lambda: program.init().model)
        if with_optimizer:
            step, opt_state = pretrained_optimizer(shapes.opt_state, pretrained)
            zero = jnp.zeros_like(step)
            return jax.device_put(TrainState(step, model, opt_state, zero, zero, spikes), placed)
        make_state = functools.partial(state_of, tx=program.tx, spikes=spikes)
        options = xla_options.for_init(platform)
        return jax.jit(make_state, donate_argnums=0, out_shardings=placed, compiler_options=options)(model)

    return init


def pretrained_model(
    shapes: Any, architecture: Architecture, pretrained: LazyModel, random_model: Callable[[], Any]
) -> Any:
    """Returns a model with pretrained parameters; each device reads only its own shards.

    Args:
      shapes: a model of `jax.ShapeDtypeStruct` with shardings.
      architecture: the new model's architecture.
      pretrained: the pretrained model.
      random_model: makes a random model, for parameters missing from the pretrained one.
    """
    leaves = named_leaves(shapes)
    sources = source_names(leaves, architecture, pretrained.architecture)
    new = sorted(leaves.keys() - sources.keys())
    if new:
        print(f"Initialised at random, as the pretrained model lacks them: {', '.join(new)}", file=sys.stderr)
    if pretrained.head is not None:
        print("The pooling and dense layers of the sentence encoder are not used: only its encoder is", file=sys.stderr)
    random_leaves = named_leaves(random_model()) if new else {}
    read = read_arrays(pretrained.read, {name: leaves[name] for name in sources}, sources)
    return from_named_leaves(shapes, random_leaves | read)


def source_names(names: Mapping[str, Any], architecture: Architecture, pretrained: Architecture) -> dict[str, str]:
    """Maps each parameter to the pretrained one that initialises it, leaving out those of a new head."""
    new, old = architecture.traits, pretrained.traits
    if (new.model, architecture.labels) == (old.model, pretrained.labels):
        return {name: name for name in names}
    encoder_only = new.has_encoder and not new.decodes
    if encoder_only and pretrained == ENCODER_DECODER:
        own = {name: name.removeprefix(ENCODER) for name in names if name.startswith(ENCODER)}
        return own | {name: name for name in names if name == "logits_kernel"}
    if encoder_only and pretrained == ENCODER_ALONE:
        return {name: name.removeprefix(ENCODER) for name in names if name.startswith(ENCODER)}
    if encoder_only and old.has_encoder and not old.decodes:
        return {name: name for name in names if name.startswith(ENCODER)}
    remedy = "the same architecture" if old.predicts else f"one of {', '.join(FROM_ENCODER)}"
    raise ValueError(
        f"model.architecture is {architecture.name}{_labels(architecture)}, which cannot start from model.pretrained, "
        f"{pretrained.with_article}{_labels(pretrained)}: use {remedy}"
    )


def _labels(architecture: Architecture) -> str:
    return f" with labels {', '.join(architecture.labels)}" if architecture.labels else ""


def pretrained_optimizer(shapes: Any, pretrained: LazyModel) -> tuple[jax.Array, Any]:
    """Returns the step and the optimizer state of a T5X checkpoint, sharded like `shapes`."""
    if pretrained.read_slots is None:
        raise ValueError(
            "optimizer.from_pretrained is true, but model.pretrained has no optimizer state to continue from: "
            "leave it out"
        )
    axes = layer_axes(pretrained.config)
    opt_state = opt_state_from_slots(pretrained.read_slots(), pretrained.step, shapes, axes)
    return jnp.asarray(pretrained.step, jnp.int32), opt_state
