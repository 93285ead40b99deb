# SPDX-License-Identifier: Apache-2.0
"""Decoding with a model: one program reads the inputs, another decodes, however many tokens there are to come.

Shape letters: B batch, S input tokens, P = S + 1 places of a prompt, K sequences of an example, T new tokens.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.config import GenerationConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference import beam_search, sampling
from t5x_lite.inference.params import Controls, Plan, make_controls, make_plan
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.kernels.cpu import Unstacked, unstacked
from t5x_lite.model.transformer import T5
from t5x_lite.parallel import xla_options

START_ID = 0  # T5 starts its decoder with padding

State = sampling.Decoding | beam_search.Beams


class Generated(NamedTuple):
    """What was decoded of a batch, on the host; the best sequence of an example comes first."""

    tokens_BKT: np.ndarray  # EOS or a stop token ends a sequence, 0 follows it
    scores_BK: np.ndarray  # of beams, their scores; else the sum of log_probs_BKT
    log_probs_BKT: np.ndarray  # of each token; [B, K, 0] of beams, and if the plan did not ask for scores


class Devices(NamedTuple):
    """How arrays with the batch first get to the devices a model is on, and back."""

    place: Callable[[np.ndarray], Any] = np.asarray
    fetch: Callable[[Any], np.ndarray] = np.asarray


HERE = Devices()


def generate_ids(
    model: Any,
    architecture: Architecture,
    inputs_BS: np.ndarray,
    controls: Controls,
    plan: Plan,
    devices: Devices = HERE,
) -> Generated:
    """Decodes a batch to its end.

    Args:
      model: of an architecture that decodes; called without dropout. Who decodes more than one batch with it saves time
        by giving `unstacked(model)`.
      architecture: the architecture of the model.
      inputs_BS: input ids, 0 on padding; EOS after them, which a decoder alone does not read.
      controls: of each example.
      plan: what is asked for.
      devices: of the model.
    """
    model = unstacked(model)
    state, placed = begin(model, architecture, inputs_BS, controls, plan, devices)
    state = go_on(model, state, placed, plan.num_steps, plan=plan)
    return finished(state, placed, plan, devices)


def greedy_ids(
    model: Any, architecture: Architecture, inputs_BS: np.ndarray, tokenizer: Tokenizer, *, max_new_tokens: int
) -> np.ndarray:
    """Returns tokens_BT by greedy choice: EOS ends a sequence, 0 follows it."""
    configs = [GenerationConfig(max_new_tokens=max_new_tokens)] * len(inputs_BS)
    controls = make_controls(configs, range(len(inputs_BS)), eos_id=tokenizer.eos_id)
    plan = make_plan(configs, vocab_size=tokenizer.vocab_size, num_steps=max_new_tokens)
    return generate_ids(model, architecture, inputs_BS, controls, plan).tokens_BKT[:, 0]


def stream_ids(
    model: Any, architecture: Architecture, inputs_BS: np.ndarray, controls: Controls, plan: Plan
) -> Iterator[np.ndarray]:
    """Yields tokens_BKT after each step, until all sequences have ended; not of a beam search.

    Args:
      model: as for `generate_ids`.
      architecture: as for `generate_ids`.
      inputs_BS: as for `generate_ids`.
      controls: of each example.
      plan: what is asked for.
    """
    model = unstacked(model)
    state, placed = begin(model, architecture, inputs_BS, controls, plan, HERE)
    for step in range(1, plan.num_steps + 1):
        state = go_on(model, state, placed, step, plan=plan)
        yield np.asarray(state.tokens_BKT)
        if np.asarray(state.finished_BK).all():
            return


def begin(
    model: Any,
    architecture: Architecture,
    inputs_BS: np.ndarray,
    controls: Controls,
    plan: Plan,
    devices: Devices,
) -> tuple[State, Controls]:
    """Reads the inputs; returns a state with nothing decoded, and the controls on the devices."""
    placed = Controls(*map(devices.place, controls))
    if architecture.traits.has_encoder:
        return _reading(_begin_encoded, "plan")(model, devices.place(inputs_BS), plan=plan), placed
    prompts_BP, lengths_B = as_prompts(inputs_BS, eos_id=int(controls.stop_BW[0, 0]))
    prompts, lengths = devices.place(prompts_BP), devices.place(lengths_B)
    begin_prompted = _reading(_begin_prompted, "sees_prefix", "plan")
    return begin_prompted(model, prompts, lengths, sees_prefix=architecture.traits.sees_prefix, plan=plan), placed


@functools.cache
def _reading(function: Callable, *static: str) -> Callable:
    """Returns a function that reads inputs, compiled for the devices there are."""
    options = xla_options.for_long_products(jax.default_backend())
    return jax.jit(function, static_argnames=static, compiler_options=options)


def _begin_encoded(model: T5 | Unstacked, inputs_BS: jax.Array, *, plan: Plan) -> State:
    cache = model.init_cache(model.encode(inputs_BS), inputs_BS, plan.num_steps, plan.num_sequences)
    return _method(plan).start(jnp.full(len(inputs_BS), START_ID, jnp.int32), cache, plan)


def _begin_prompted(model: Any, prompts_BP: jax.Array, lengths_B: jax.Array, *, sees_prefix: bool, plan: Plan) -> State:
    cache = model.init_cache(
        prompts_BP,
        plan.num_steps,
        plan.num_sequences,
        lengths_B=lengths_B + 1,  # and the padding that starts it
        prefix_BP=jnp.ones_like(prompts_BP) if sees_prefix else None,
    )
    return _method(plan).start(prompts_BP[:, -1], cache, plan)


@functools.partial(jax.jit, static_argnames="plan", donate_argnames="state")
def go_on(model: Any, state: State, controls: Controls, until: Any, *, plan: Plan) -> State:
    """Decodes until there are `until` tokens of each sequence, or all have ended."""
    return _method(plan).advance(model.decode_step, state, controls, plan, until)


def decode(model: T5, inputs_BS: jax.Array, controls: Controls, *, plan: Plan) -> jax.Array:
    """Reads inputs and decodes them to their end in one program; returns tokens_BKT.

    `generate_ids` has two, so that one of them serves all lengths of inputs; this is what is compiled ahead of time.
    """
    state = _begin_encoded(model, inputs_BS, plan=plan)
    return _method(plan).advance(model.decode_step, state, controls, plan, plan.num_steps).tokens_BKT


def finished(state: State, controls: Controls, plan: Plan, devices: Devices) -> Generated:
    """Returns what a decoding that has ended came to."""
    if isinstance(state, beam_search.Beams):
        tokens_BKT, scores_BK = beam_search.best(state, controls, plan)
        nothing_BK0 = np.zeros((*scores_BK.shape, 0), np.float32)
        return Generated(devices.fetch(tokens_BKT), devices.fetch(scores_BK), nothing_BK0)
    log_probs_BKT = devices.fetch(state.log_probs_BKT)
    return _best_first(devices.fetch(state.tokens_BKT), log_probs_BKT.sum(axis=-1), log_probs_BKT)


def as_prompts(inputs_BS: np.ndarray, *, eos_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (prompts_BP, lengths_B) for a decoder alone: inputs without EOS, moved to the right.

    Args:
      inputs_BS: ids, EOS after each row's, 0 on padding.
      eos_id: left out where it is a row's last id.
    """
    B, S = inputs_BS.shape
    length_B = np.count_nonzero(inputs_BS, axis=1)
    last_B = inputs_BS[np.arange(B), np.maximum(length_B - 1, 0)]
    length_B = (length_B - (last_B == eos_id)).astype(np.int32)
    place_BS = np.arange(S)[None] - (S - length_B[:, None])
    moved_BS = np.where(place_BS >= 0, np.take_along_axis(inputs_BS, np.maximum(place_BS, 0), axis=1), 0)
    return np.pad(moved_BS, ((0, 0), (1, 0))).astype(np.int32), length_B


def _best_first(tokens_BKT: np.ndarray, scores_BK: np.ndarray, log_probs_BKT: np.ndarray) -> Generated:
    order_BK = np.argsort(-scores_BK, axis=1, kind="stable")
    return Generated(
        np.take_along_axis(tokens_BKT, order_BK[:, :, None], axis=1),
        np.take_along_axis(scores_BK, order_BK, axis=1),
        np.take_along_axis(log_probs_BKT, order_BK[:, :, None], axis=1),
    )


def _method(plan: Plan) -> Any:
    return beam_search if plan.beam_rules else sampling
