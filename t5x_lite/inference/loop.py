# SPDX-License-Identifier: Apache-2.0
"""The decoding loop: a compiled program for the prefill, and one that decodes any number of tokens.

Shape letters: B batch, S input tokens, P = S + 1 prompt positions, K sequences per example, T new tokens.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.inference import beam_search, sampling
from t5x_lite.inference.params import DecodeSpec, SamplingParams, make_decode_spec, make_sampling_params
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.kernels.unstacked import Unstacked, config_of, decode_layout
from t5x_lite.model.transformer import T5
from t5x_lite.parallel import xla_options
from t5x_lite.parallel.mesh import batch_sharding

State = sampling.Decoding | beam_search.Beams


class Generated(NamedTuple):
    """Decoded sequences of a batch, on the host, best first per example."""

    tokens_BKT: np.ndarray  # a sequence ends with EOS or a stop token; padding follows
    scores_BK: np.ndarray  # beam scores, or the sums of log_probs_BKT
    log_probs_BKT: np.ndarray  # per token; [B, K, 0] in beam search, or without spec.scores


def call(function: Callable, *args: Any, **static: Any) -> Any:
    """Calls a jitted function, which keeps all of its programs."""
    return function(*args, **static)


class Devices(NamedTuple):
    """Transfers batch-major arrays to the model's devices and back to the host, and runs programs there."""

    place: Callable[[np.ndarray], Any] = np.asarray
    fetch: Callable[[Any], np.ndarray] = np.asarray
    parts: int = 1  # into which the rows are divided
    call: Callable = call  # how to call a jitted function

    def rounded(self, num_rows: int) -> int:
        """Returns a number of rows rounded up to one that can be divided."""
        return -(-num_rows // self.parts) * self.parts


LOCAL = Devices()


def devices_of(model: Any) -> Devices:
    """Returns the devices of a model's parameters, which this process can address."""
    sharding = getattr(jax.tree.leaves(model)[0], "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.mesh.size == 1:
        return LOCAL
    mesh: Any = sharding.mesh
    rows = batch_sharding(mesh)
    return Devices(lambda array: jax.device_put(array, rows), parts=mesh.shape["data"] * mesh.shape["fsdp"])


def generate_ids(
    model: Any,
    architecture: Architecture,
    inputs_BS: np.ndarray,
    params: SamplingParams,
    spec: DecodeSpec,
    devices: Devices = LOCAL,
) -> Generated:
    """Decodes a batch of padded input ids that end with EOS, which is removed for decoder-only models.

    To decode many batches, pass `decode_layout(model)`, which is then computed only once.
    """
    model = decode_layout(model)
    state, placed = prefill(model, architecture, inputs_BS, params, spec, devices)
    return collect(decode_until(model, state, placed, spec.num_steps, spec=spec), spec, devices)


def greedy_ids(
    model: Any,
    architecture: Architecture,
    inputs_BS: np.ndarray,
    tokenizer: Tokenizer,
    max_new_tokens: int,
    devices: Devices = LOCAL,
) -> np.ndarray:
    """Returns greedily decoded tokens_BT; a sequence ends with EOS, and padding follows."""
    configs = [GenerationConfig(max_new_tokens=max_new_tokens)] * len(inputs_BS)
    params = make_sampling_params(configs, range(len(inputs_BS)), eos_id=tokenizer.eos_id)
    spec = make_decode_spec(configs, vocab_size=tokenizer.vocab_size, num_steps=max_new_tokens, model=config_of(model))
    return generate_ids(model, architecture, inputs_BS, params, spec, devices).tokens_BKT[:, 0]


def stream_ids(
    model: Any, architecture: Architecture, inputs_BS: np.ndarray, params: SamplingParams, spec: DecodeSpec
) -> Iterator[np.ndarray]:
    """Yields tokens_BKT after each step until all sequences have ended; without beam search."""
    model = decode_layout(model)
    state, placed = prefill(model, architecture, inputs_BS, params, spec, LOCAL)
    for step in range(1, spec.num_steps + 1):
        state = decode_until(model, state, placed, step, spec=spec)
        yield np.asarray(state.tokens_BKT)
        if np.asarray(state.finished_BK).all():
            return


def prefill(
    model: Any,
    architecture: Architecture,
    inputs_BS: np.ndarray,
    params: SamplingParams,
    spec: DecodeSpec,
    devices: Devices,
) -> tuple[State, SamplingParams]:
    """Runs the prefill; returns the initial decoding state and the sampling parameters, both on device."""
    placed = jax.tree.map(devices.place, params)
    if architecture.traits.has_encoder:
        return devices.call(_compiled(_encode, "spec"), model, devices.place(inputs_BS), spec=spec), placed
    eos_id = None if architecture.keeps_eos else int(params.stop_BW[0, 0])
    prompts_BP, lengths_B = as_prompts(inputs_BS, eos_id=eos_id, pad_id=spec.pad_id, start_id=spec.start_id)
    prompts, lengths = devices.place(prompts_BP), devices.place(lengths_B)
    read_prompts = _compiled(_read_prompts, "sees_prefix", "spec")
    sees_prefix = architecture.traits.sees_prefix
    return devices.call(read_prompts, model, prompts, lengths, sees_prefix=sees_prefix, spec=spec), placed


@functools.cache
def _compiled(function: Callable, *static: str) -> Callable:
    """Returns the jitted function with this backend's compiler options."""
    options = xla_options.for_long_products(jax.default_backend())
    return jax.jit(function, static_argnames=static, compiler_options=options)


def _encode(model: T5 | Unstacked, inputs_BS: jax.Array, *, spec: DecodeSpec) -> State:
    cache = model.init_cache(model.encode(inputs_BS), inputs_BS, spec.num_steps, spec.num_sequences)
    return _method(spec).start(jnp.full(len(inputs_BS), spec.start_id, jnp.int32), cache, spec)


def _read_prompts(
    model: Any, prompts_BP: jax.Array, lengths_B: jax.Array, *, sees_prefix: bool, spec: DecodeSpec
) -> State:
    cache = model.init_cache(
        prompts_BP,
        spec.num_steps,
        spec.num_sequences,
        lengths_B=lengths_B + 1,  # including the start token
        prefix_BP=jnp.ones_like(prompts_BP) if sees_prefix else None,
    )
    return _method(spec).start(prompts_BP[:, -1], cache, spec)


@functools.partial(jax.jit, static_argnames="spec", donate_argnames="state")
def decode_until(model: Any, state: State, params: SamplingParams, until: Any, *, spec: DecodeSpec) -> State:
    """Decodes until all sequences have ended or have `until` tokens."""
    return _method(spec).advance(model.decode_step, state, params, spec, until)


def encode_and_decode(model: T5, inputs_BS: jax.Array, params: SamplingParams, *, spec: DecodeSpec) -> jax.Array:
    """Decodes a batch in one program, for ahead-of-time compilation; returns tokens_BKT.

    `generate_ids` runs two programs, so that all input lengths share the decoding program.
    """
    state = _encode(model, inputs_BS, spec=spec)
    return _method(spec).advance(model.decode_step, state, params, spec, spec.num_steps).tokens_BKT


def collect(state: State, spec: DecodeSpec, devices: Devices) -> Generated:
    """Fetches the decoded sequences to the host and sorts samples by score."""
    if isinstance(state, beam_search.Beams):
        tokens_BKT, scores_BK = beam_search.best(state, spec)
        empty_BK0 = np.zeros((*scores_BK.shape, 0), np.float32)
        return Generated(devices.fetch(tokens_BKT), devices.fetch(scores_BK), empty_BK0)
    tokens_BKT, log_probs_BKT = devices.fetch(state.tokens_BKT), devices.fetch(state.log_probs_BKT)
    scores_BK = log_probs_BKT.sum(axis=-1)
    order_BK = np.argsort(-scores_BK, axis=1, kind="stable")
    return Generated(
        np.take_along_axis(tokens_BKT, order_BK[:, :, None], axis=1),
        np.take_along_axis(scores_BK, order_BK, axis=1),
        np.take_along_axis(log_probs_BKT, order_BK[:, :, None], axis=1),
    )


def as_prompts(
    inputs_BS: np.ndarray, *, eos_id: int | None, pad_id: int = 0, start_id: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (prompts_BP, lengths_B) for a decoder-only model: the inputs without a final `eos_id`.

    The start id precedes each prompt, and also pads it on the left.
    """
    B, S = inputs_BS.shape
    length_B = np.count_nonzero(inputs_BS != pad_id, axis=1)
    if eos_id is not None:
        length_B = length_B - (inputs_BS[np.arange(B), np.maximum(length_B - 1, 0)] == eos_id)
    length_B = length_B.astype(np.int32)
    source_BS = np.arange(S)[None] - (S - length_B[:, None])
    moved_BS = np.where(source_BS >= 0, np.take_along_axis(inputs_BS, np.maximum(source_BS, 0), axis=1), start_id)
    return np.pad(moved_BS, ((0, 0), (1, 0)), constant_values=start_id).astype(np.int32), length_B


def _method(spec: DecodeSpec) -> Any:
    return beam_search if spec.beam_variant else sampling
