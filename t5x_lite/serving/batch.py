# SPDX-License-Identifier: Apache-2.0
"""Decodes a batch of jobs, notifying each job of its tokens as they are generated.

To limit the number of compiled programs, sizes are rounded up: rows to a power of four; sequences per job, and input
and new tokens, to a power of two.

Shape letters: B rows of the batch, S input tokens, K sequences per job, T new tokens, E embedding, W stop tokens.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers import trim
from t5x_lite.inference import beam_search
from t5x_lite.inference.engine import Request, batch_params, bucket, pad_inputs
from t5x_lite.inference.loop import LOCAL, Devices, State, collect, decode_until, devices_of, prefill
from t5x_lite.inference.params import DecodeSpec, SamplingParams, power_of_two
from t5x_lite.model.sentence_head import SentenceHead, embed
from t5x_lite.serving.programs import GREEDY, SAMPLING, SHORT, Program, Programs, chooser_of

STEPS_PER_UPDATE = 4  # tokens decoded between notifications and checks for cancelled jobs
MIN_LENGTH = 32
MOST_TOP = 5  # OpenAI's maximum; all are computed if a job asks for any, so that one program serves all
USUAL_NEW_TOKENS = 16  # OpenAI's default of max_tokens


Top = list[tuple[int, float]]  # the most probable tokens of a step, best first, with their log-probabilities


class Output(NamedTuple):
    """One generated sequence so far."""

    ids: list[int]  # without EOS or the stop token
    log_probs: list[float]  # of the ids; empty after a beam search
    num_tokens: int  # decoded so far, including EOS or the stop token
    finish: Literal["stop", "length"] | None  # None while the sequence grows
    top: Sequence[Top] = ()  # for each of the ids; empty unless a job in the batch requests it


class Progress(NamedTuple):
    """The sequences of a job so far; all are finished in its last event."""

    sequences: list[Output]

    @property
    def is_last(self) -> bool:
        """Whether all sequences are finished."""
        return all(output.finish for output in self.sequences)


class Embedded(NamedTuple):
    """The embedding of a text by the model's head, or else the normalised mean of the encoder's outputs."""

    values_E: np.ndarray  # float32


class Failed(NamedTuple):
    """The failure of a job."""

    reason: Literal["closed", "error", "not_finite"]
    message: str


Event = Progress | Embedded | Failed
NOT_FINITE = Failed(
    "not_finite", "the model's outputs for this text are not numbers (NaN): its weights are damaged, or too large"
)


@dataclasses.dataclass(eq=False, kw_only=True)
class Job:
    """A text in the queue."""

    ids: list[int]  # token ids of the text, including EOS
    notify: Callable[[Event], None] = lambda event: None  # called on the worker thread; must not block
    config: GenerationConfig | None = None  # decoding settings; None computes an embedding
    stream: int = 0  # random stream: the same seed and stream give the same samples
    num_top: int = 0  # most probable tokens to return per token, up to MOST_TOP; not available with beam search
    cancelled: bool = False  # whether to drop the job; set by `Engine.cancel`

    def send(self, event: Event) -> None:
        """Notifies the job of an event unless it is cancelled."""
        if not self.cancelled:
            self.notify(event)

    @property
    def num_rows(self) -> int:
        """The number of sequences to decode."""
        return 1 if self.config is None else max(self.config.num_beams, self.config.num_return_sequences)


def group_of(job: Job, most_rows: int) -> tuple:
    """Returns the key that jobs must share to be decoded in one batch."""
    return *program_of([job], most_rows)[:3], max(SHORT, power_of_two(len(job.ids)))


def room_of(job: Job, most_rows: int) -> int:
    """Returns how many jobs of a job's group a batch has room for."""
    return max(1, most_rows // max(1, program_of([job], most_rows).num_sequences))


def program_of(jobs: Sequence[Job], most_rows: int) -> Program:
    """Returns the program that jobs of one group need."""
    length = max(MIN_LENGTH, power_of_two(max(len(job.ids) for job in jobs)))
    first, configs = jobs[0].config, [job.config for job in jobs if job.config is not None]
    if first is None:
        return Program(0, "", False, length, _rounded(len(jobs), most_rows), 0)
    # A width that is no power of two is possible only as the largest one.
    width = power_of_two(jobs[0].num_rows)
    width = max(jobs[0].num_rows, min(width, most_rows))
    return Program(
        num_sequences=width,
        beam_variant=first.beam_variant if first.num_beams > 1 else "",
        scores_as_sampled=first.scores_as == "sampled",
        length=length,
        num_rows=_rounded(len(jobs), max(1, most_rows // width)),
        num_steps=power_of_two(bucket(max(config.max_new_tokens for config in configs))),
        chooser=max(
            chooser_of(temperature=config.temperature, top_k=config.top_k, top_p=config.top_p, min_p=config.min_p)
            for config in configs
        ),
        penalises=any(
            config.min_new_tokens or config.repetition_penalty != 1 or config.no_repeat_ngram_size for config in configs
        ),
        num_top=MOST_TOP if any(job.num_top for job in jobs) else 0,
    )


def run_batch(pretrained: Pretrained, jobs: Sequence[Job], program: Program, programs: Programs) -> None:
    """Runs jobs of one group with a program that covers what they need, and notifies them."""
    devices = devices_of(pretrained.model)._replace(call=functools.partial(programs.call, program))
    num_rows = devices.rounded(program.num_rows)
    ids = [job.ids for job in jobs]
    inputs_BS = pad_inputs(ids, num_rows, length=program.length, pad_id=pretrained.tokenizer.pad_id)
    if not program.num_sequences:
        head = pretrained.head or SentenceHead()
        vectors_BE = devices.fetch(devices.call(embed, pretrained.model, head, devices.place(inputs_BS)))
        for job, vector_E in zip(jobs, vectors_BE, strict=False):
            job.send(Embedded(vector_E) if np.isfinite(vector_E).all() else NOT_FINITE)
        return
    done: set[int] = set()
    for events in _decode(pretrained, jobs, inputs_BS, program, devices):
        for row, (job, event) in enumerate(zip(jobs, events, strict=True)):
            if row in done or event is None:
                continue
            job.send(event)
            job.cancelled |= isinstance(event, Failed)
            if isinstance(event, Failed) or event.is_last:
                done.add(row)


def compile_program(pretrained: Pretrained, program: Program, programs: Programs) -> None:
    """Compiles a program by running it on a meaningless text for a few tokens."""
    tokenizer, config = pretrained.tokenizer, None
    ids = [max(tokenizer.special_ids) + 1] * (program.length - 1) + [tokenizer.eos_id]
    if program.num_sequences:
        neutral = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 0.0, "min_new_tokens": 0}
        wide = {"num_beams": program.num_sequences if program.beam_variant else 1, "num_return_sequences": 1}
        more = {"max_new_tokens": program.num_steps, "scores_as": "model"}
        config = dataclasses.replace(pretrained.generation, **neutral, **wide, **more)
    # On a mesh, a program's outputs may be laid out otherwise than its first inputs, and need a second one.
    is_cancelled = devices_of(pretrained.model) is LOCAL
    run_batch(pretrained, [Job(ids=ids, config=config, cancelled=is_cancelled)], program, programs)


def warm_up(pretrained: Pretrained, programs: Programs, *, most_rows: int, num_tokens: int) -> None:
    """Compiles the most common programs: inputs of up to `num_tokens` tokens, greedy and sampled."""
    length = max(MIN_LENGTH, power_of_two(num_tokens))
    for num_rows in batch_sizes(most_rows):
        if not pretrained.architecture.traits.decodes:
            compile_program(pretrained, Program(0, "", False, length, num_rows, 0), programs)
            continue
        for chooser in (GREEDY, SAMPLING):
            program = Program(1, "", False, length, num_rows, USUAL_NEW_TOKENS, chooser)
            compile_program(pretrained, program, programs)


def batch_sizes(most: int) -> list[int]:
    """Returns the possible numbers of rows: 1, 4, 16, ... and the maximum."""
    return [*itertools.takewhile(lambda size: size < most, (4**i for i in itertools.count())), most]


def _rounded(number: int, most: int) -> int:
    return next(size for size in batch_sizes(most) if size >= number)


def _decode(
    pretrained: Pretrained, jobs: Sequence[Job], inputs_BS: np.ndarray, program: Program, devices: Devices
) -> Iterator[list[Progress | Failed | None]]:
    """Yields the jobs' outputs as they grow, None for an unfinished beam search."""
    model, configs = pretrained.model, [job.config or GenerationConfig() for job in jobs]
    own, tokenizer = pretrained.config, pretrained.tokenizer
    spec = program.spec(vocab_size=tokenizer.vocab_size, pad_id=own.pad_id, start_id=own.start_id)
    params = _params(pretrained, jobs, len(inputs_BS), program)
    stops = [set(row.tolist()) for row in params.stop_BW]
    # Prefill does not depend on how tokens are chosen, so one program serves all specs of the same sizes.
    kept = ("scores", "num_top", "beam_variant", "pad_id", "start_id")
    shared = DecodeSpec(None, spec.num_steps, spec.num_sequences, **{name: getattr(spec, name) for name in kept})
    state, placed = prefill(model, pretrained.architecture, inputs_BS, params, shared, devices)
    if not isinstance(state, beam_search.Beams):  # rows and sequences that nobody asked for
        numbers = [config.num_return_sequences for config in configs] + [0] * (len(inputs_BS) - len(jobs))
        state = state._replace(
            finished_BK=state.finished_BK | (np.arange(spec.num_sequences)[None] >= np.asarray(numbers)[:, None])
        )
    for until in itertools.count(STEPS_PER_UPDATE, STEPS_PER_UPDATE):
        state = devices.call(decode_until, model, state, placed, np.int32(until), spec=spec)
        snapshot = _snapshot(state, spec)
        yield [snapshot.event(row, job, stops[row]) for row, job in enumerate(jobs)]
        cancelled_B = np.asarray([job.cancelled for job in jobs] + [False] * (len(inputs_BS) - len(jobs)))
        if (snapshot.finished_BK.all(axis=1) | cancelled_B)[: len(jobs)].all():
            return
        if not cancelled_B.any():
            continue
        if isinstance(state, beam_search.Beams):
            state = state._replace(over_B=state.over_B | cancelled_B)
        else:
            state = state._replace(finished_BK=state.finished_BK | cancelled_B[:, None])


def _params(pretrained: Pretrained, jobs: Sequence[Job], num_rows: int, program: Program) -> SamplingParams:
    requests = [Request("", job.config or GenerationConfig(), job.stream) for job in jobs]
    params = batch_params(pretrained, requests, num_rows)

    def values(field: str, fill: int) -> np.ndarray:
        given = [getattr(request.config, field) for request in requests]
        return np.asarray(given + [fill] * (num_rows - len(given)), np.int32)

    if program.beam_variant:
        params = params._replace(num_beams_B=values("num_beams", 1))
    if program.penalises:
        params = params._replace(no_repeat_ngram_size_B=values("no_repeat_ngram_size", 0))
    return params


class _Snapshot(NamedTuple):
    """The outputs of a batch so far."""

    finished_BK: np.ndarray
    is_number_B: np.ndarray  # whether an example's scores are numbers
    is_search: bool  # whether an example's outputs are known only when all are finished
    output: Callable[[int, int, set[int]], Output]  # maps a row, sequence and stop tokens

    def event(self, row: int, job: Job, stops: set[int]) -> Progress | Failed | None:
        """Returns what a job is to be told."""
        if not self.is_number_B[row]:
            return NOT_FINITE
        if self.is_search and not self.finished_BK[row].all():
            return None
        num_sequences = job.config.num_return_sequences  # type: ignore[union-attr]
        return Progress([self.output(row, k, stops) for k in range(num_sequences)])


def _snapshot(state: State, spec: DecodeSpec) -> _Snapshot:
    """Returns the outputs so far."""
    count = int(state.count)
    is_search = isinstance(state, beam_search.Beams)
    if is_search:
        tokens_BKT, scores_BK, log_probs_BKT = collect(state, spec, LOCAL)
        top_ids_BKTJ = top_log_probs_BKTJ = np.zeros((0, 0, 0, 0))
        finished_BK = np.broadcast_to(np.asarray(state.over_B)[:, None], tokens_BKT.shape[:2])
        is_number_B = ~np.isnan(scores_BK + np.asarray(state.live_log_probs_BK)).any(axis=1)
    else:
        finished_BK = np.asarray(state.finished_BK)
        tokens_BKT, log_probs_BKT = np.asarray(state.tokens_BKT), np.asarray(state.log_probs_BKT)
        top_ids_BKTJ, top_log_probs_BKTJ = np.asarray(state.top_ids_BKTJ), np.asarray(state.top_log_probs_BKTJ)
        is_number_B = ~np.isnan(log_probs_BKT).any(axis=(1, 2))

    def top(row: int, k: int, length: int) -> Sequence[Top]:
        if not spec.num_top:
            return ()
        pairs = zip(top_ids_BKTJ[row, k, :length].tolist(), top_log_probs_BKTJ[row, k, :length].tolist(), strict=True)
        return [list(zip(*pair, strict=True)) for pair in pairs]

    def output(row: int, k: int, stops: set[int]) -> Output:
        tokens_T = tokens_BKT[row, k, :count]
        if not finished_BK[row, k]:
            log_probs = log_probs_BKT[row, k, :count].tolist()
            return Output(tokens_T.tolist(), log_probs, count, None, top(row, k, count))
        ids, stopped = trim(tokens_T, stops, pad_id=spec.pad_id)
        log_probs = log_probs_BKT[row, k, : len(ids)].tolist()
        return Output(ids, log_probs, len(ids) + stopped, "stop" if stopped else "length", top(row, k, len(ids)))

    return _Snapshot(finished_BK, np.asarray(is_number_B), is_search, output)
