# SPDX-License-Identifier: Apache-2.0
"""One batch of jobs from begin to end: decoded together, each told of its own tokens as they come.

Whatever is compiled is compiled for a power: of four for rows, of two for input tokens and new tokens. A server then
meets few programs.

Shape letters: B rows of the batch, S input tokens, K sequences of a job, T new tokens, D embedding.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import GenerationConfig
from t5x_lite.inference import beam_search
from t5x_lite.inference.engine import Request, controls_and_plan
from t5x_lite.inference.loop import HERE, State, begin, finished, go_on
from t5x_lite.inference.params import Controls, Plan, batches_with
from t5x_lite.model.encoder import mean_of_tokens

STEPS_BETWEEN_LOOKS = 4  # tokens that are decoded before anyone is told, or found to have left
SMALLEST_LENGTH = 32
SHORT = 64  # inputs up to it are decoded together; longer ones with those of at most twice their length
USUAL_NEW_TOKENS = 16  # what OpenAI's clients ask for if they do not say


class Grown(NamedTuple):
    """One sequence so far."""

    ids: list[int]  # without what ends it
    log_probs: list[float]  # of the ids; empty if the job did not ask for them
    num_tokens: int  # that were decoded, what ends it among them
    finish: Literal["stop", "length"] | None  # None while it goes on


class Progress(NamedTuple):
    """What there is of a job's sequences; the last one that is told has them all finished."""

    sequences: list[Grown]

    @property
    def is_last(self) -> bool:
        """Whether nothing more will come."""
        return all(grown.finish for grown in self.sequences)


class Embedded(NamedTuple):
    """A text's place: the mean of the encoder's output over its tokens, divided by its length."""

    values_D: np.ndarray  # float32


class Failed(NamedTuple):
    """Nothing will come of a job."""

    reason: Literal["closed", "error"]
    message: str


Event = Progress | Embedded | Failed


@dataclasses.dataclass(eq=False, kw_only=True)
class Job:
    """A text that waits for the model.

    Args:
      ids: its tokens and EOS.
      notify: called with each event, on the worker's thread; must not block.
      config: how to decode; None asks for an embedding.
      stream: jobs of the same seed and stream draw the same.
      log_probs: whether those of the tokens are wanted; not of beams.
      given_up: nobody waits any more; `Engine.give_up` says so.
    """

    ids: list[int]
    notify: Callable[[Event], None]
    config: GenerationConfig | None = None
    stream: int = 0
    log_probs: bool = False
    given_up: bool = False

    @property
    def num_rows(self) -> int:
        """Sequences that are decoded of it."""
        return 1 if self.config is None else max(self.config.num_beams, self.config.num_return_sequences)


def group_of(job: Job) -> tuple:
    """Returns what jobs have to have in common to be one batch."""
    kind = ("embedding",) if job.config is None else batches_with(job.config)
    return *kind, max(SHORT, power_of_two(len(job.ids)))


def run_batch(pretrained: Pretrained, jobs: Sequence[Job], *, most_rows: int) -> None:
    """Does jobs of one group; each is told what becomes of it, unless it is given up.

    Args:
      pretrained: the model, of an architecture that can do them.
      jobs: at most `most_rows` sequences in all, or one job.
      most_rows: what a batch has at most.
    """
    sizes = batch_sizes(max(1, most_rows // jobs[0].num_rows))
    inputs_BS = padded_inputs(jobs, next(size for size in sizes if size >= len(jobs)))
    if jobs[0].config is None:
        means_BD = np.asarray(embed(pretrained.model, inputs_BS))
        for job, mean_D in zip(jobs, means_BD, strict=False):
            _tell(job, Embedded(mean_D))
        return
    told: set[int] = set()
    for sequences_BK in _decoded(pretrained, jobs, inputs_BS):
        for row, (job, sequences) in enumerate(zip(jobs, sequences_BK, strict=True)):
            if row not in told and sequences:
                progress = Progress(sequences)
                _tell(job, progress)
                if progress.is_last:
                    told.add(row)


def warm_up(pretrained: Pretrained, *, most_rows: int, num_tokens: int, decodes: bool) -> None:
    """Compiles what most requests need: up to `num_tokens` input tokens, greedy and drawn."""
    ids = [3] * (num_tokens - 1) + [pretrained.tokenizer.eos_id]
    for num_rows in batch_sizes(most_rows):
        for temperature in (0.0, 1.0) if decodes else (None,):
            config = None
            if temperature is not None:
                config = GenerationConfig(max_new_tokens=USUAL_NEW_TOKENS, temperature=temperature)
            jobs = [Job(ids=ids, notify=_nobody, config=config) for _ in range(num_rows)]
            run_batch(pretrained, jobs, most_rows=most_rows)


def power_of_two(number: int) -> int:
    """Returns the lowest one that is not below a number."""
    return 1 << max(number - 1, 0).bit_length()


def batch_sizes(most: int) -> list[int]:
    """Returns how many rows a batch may have: 1, 4, 16 and so on, and the most."""
    return [*itertools.takewhile(lambda size: size < most, (4**i for i in itertools.count())), most]


def padded_inputs(jobs: Sequence[Job], num_rows: int) -> np.ndarray:
    """Returns inputs_BS, 0 on padding and in the rows that no job has."""
    length = max(SMALLEST_LENGTH, power_of_two(max(len(job.ids) for job in jobs)))
    inputs_BS = np.zeros((num_rows, length), np.int32)
    for row, job in zip(inputs_BS, jobs, strict=False):
        row[: len(job.ids)] = job.ids
    return inputs_BS


@jax.jit
def embed(model: Any, inputs_BS: jax.Array) -> jax.Array:
    """Returns means_BD of length 1, float32, of a model that has an encoder."""
    encoded_BSD = model.encode(inputs_BS) if hasattr(model, "encode") else model.encoder(inputs_BS)
    mean_BD = mean_of_tokens(encoded_BSD, inputs_BS)[:, 0]
    return mean_BD / jnp.maximum(jnp.linalg.norm(mean_BD, axis=-1, keepdims=True), 1e-12)


def _decoded(pretrained: Pretrained, jobs: Sequence[Job], inputs_BS: np.ndarray) -> Iterator[list[list[Grown]]]:
    """Yields the sequences of each job, more and more of them; nothing yet of a beam search that goes on."""
    model, requests = pretrained.model, [Request("", job.config or GenerationConfig(), job.stream) for job in jobs]
    scores = any(job.log_probs for job in jobs)
    controls, plan = controls_and_plan(pretrained, requests, len(inputs_BS), scores=scores)
    plan = plan._replace(num_steps=power_of_two(plan.num_steps))
    stops = [set(row.tolist()) for row in controls.stop_BW]
    # Reading is the same however tokens are chosen then: one program does.
    reading = Plan(
        vocab_size=None,
        num_steps=plan.num_steps,
        num_sequences=plan.num_sequences,
        scores=plan.scores,
        beam_rules=plan.beam_rules,
    )
    state, placed = begin(model, pretrained.architecture, inputs_BS, controls, reading, HERE)
    for until in itertools.count(STEPS_BETWEEN_LOOKS, STEPS_BETWEEN_LOOKS):
        state = go_on(model, state, placed, until, plan=plan)
        over_BK, grown = _look(state, placed, plan)
        yield [
            [grown(row, k, stops[row]) for k in range(job.config.num_return_sequences)]  # type: ignore[union-attr]
            if not isinstance(state, beam_search.Beams) or over_BK[row].all()
            else []
            for row, job in enumerate(jobs)
        ]
        left_B = np.asarray([job.given_up for job in jobs] + [False] * (len(inputs_BS) - len(jobs)))
        if (over_BK.all(axis=1) | left_B).all():
            return
        if left_B.any():
            state = _without(state, left_B)


def _look(state: State, placed: Controls, plan: Plan) -> tuple[np.ndarray, Callable[[int, int, set[int]], Grown]]:
    """Returns over_BK, and what makes a sequence of a row, a number in it and the ids that end it."""
    count = int(state.count)
    if isinstance(state, beam_search.Beams):
        over_BK = np.asarray(state.over_B)[:, None]
        found = finished(state, placed, plan, HERE)
        tokens_BKT, log_probs_BKT = found.tokens_BKT, found.log_probs_BKT
        flags_BK = np.broadcast_to(over_BK, tokens_BKT.shape[:2])
    else:
        over_BK = flags_BK = np.asarray(state.finished_BK)
        tokens_BKT, log_probs_BKT = np.asarray(state.tokens_BKT), np.asarray(state.log_probs_BKT)

    def grown(row: int, k: int, stops: set[int]) -> Grown:
        tokens_T = tokens_BKT[row, k, :count]
        if not flags_BK[row, k]:
            return Grown(tokens_T.tolist(), log_probs_BKT[row, k, :count].tolist(), count, None)
        ids = tokens_T[: int(np.max(np.flatnonzero(tokens_T), initial=-1)) + 1].tolist()
        ended = bool(ids) and ids[-1] in stops
        kept = len(ids) - ended
        return Grown(ids[:kept], log_probs_BKT[row, k, :kept].tolist(), len(ids), "stop" if ended else "length")

    return over_BK, grown


def _without(state: State, left_B: np.ndarray) -> State:
    """Returns a state in which the rows that nobody waits for have ended."""
    if isinstance(state, beam_search.Beams):
        return state._replace(over_B=state.over_B | left_B)
    return state._replace(finished_BK=state.finished_BK | left_B[:, None])


def _tell(job: Job, event: Event) -> None:
    if not job.given_up:
        job.notify(event)


def _nobody(event: Event) -> None:
    del event
