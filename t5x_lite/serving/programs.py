# SPDX-License-Identifier: Apache-2.0
"""The compiled programs of a server: what decides them, a bounded store of them, and a thread that compiles them.

A program serves all requests that need no more than it has. So that few are needed, sizes are rounded up and settings
are parameters with neutral values. What a request does not use of its program does not change its answer.

Shape letters: B batch, S input tokens, K sequences per example, T new tokens.
"""

import collections
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from t5x_lite.config.generation import MOST_NGRAM
from t5x_lite.inference.loop import decode_until
from t5x_lite.inference.params import DecodeSpec
from t5x_lite.model.sentence_head import embed
from t5x_lite.serving import compiler_resources

SHORT = 64  # inputs up to this length share batches; longer ones are batched by length
MOST_WASTE = 4  # times the length that is needed
GREEDY, SAMPLING, TOP_P, FILTERED = range(4)  # what chooses tokens; each includes those before it
MOST_PENDING = 8  # programs to be compiled

logger = logging.getLogger(__name__)


class Program(NamedTuple):
    """What decides a program. It also serves batches that need less of the fields from `length` on."""

    num_sequences: int  # K; 0 for embeddings
    beam_variant: str
    scores_as_sampled: bool
    length: int  # S
    num_rows: int  # B
    num_steps: int  # T
    chooser: int = GREEDY
    penalises: bool = False  # whether it has min_tokens, repetition_penalty and no_repeat_ngram_size
    num_top: int = 0

    def covers(self, needed: "Program") -> bool:
        """Returns whether a batch that needs a program can run with this one."""
        return (
            self[:3] == needed[:3]
            and self.length <= max(SHORT, MOST_WASTE * needed.length)
            and all(mine >= other for mine, other in zip(self[3:], needed[3:], strict=True))
        )

    def spec(self, *, vocab_size: int, pad_id: int, start_id: int) -> DecodeSpec:
        """Returns the spec of a decoding program, which always has log-probabilities."""
        return DecodeSpec(
            vocab_size=vocab_size,
            num_steps=self.num_steps,
            num_sequences=self.num_sequences,
            samples=self.chooser >= SAMPLING,
            has_top_k=self.chooser >= FILTERED,
            has_top_p=self.chooser >= TOP_P,
            has_min_p=self.chooser >= FILTERED,
            has_min_new=self.penalises,
            has_repetition_penalty=self.penalises,
            no_repeat_ngram_size=MOST_NGRAM if self.penalises else 0,
            scores=True,
            beam_variant=self.beam_variant,
            num_top=self.num_top,
            scores_as_sampled=self.scores_as_sampled,
            pad_id=pad_id,
            start_id=start_id,
        )

    def __str__(self) -> str:
        if not self.num_sequences:
            return f"embeddings of up to {self.length} tokens"
        width = f"num_beams up to {self.num_sequences}" if self.beam_variant else f"n up to {self.num_sequences}"
        return f"{width} with max_tokens up to {self.num_steps} and prompts of up to {self.length} tokens"


def chooser_of(*, temperature: float, top_k: int, top_p: float, min_p: float) -> int:
    """Returns the chooser that a request needs."""
    if top_k or min_p:
        return FILTERED
    return TOP_P if top_p < 1 else SAMPLING if temperature else GREEDY


class Programs:
    """Compiled programs, at most `most`: those not used for longest are freed. jax.jit frees none. Thread-safe."""

    def __init__(self, most: int):
        self.num_compiled = 0
        self._most = most
        self._kept: collections.OrderedDict[tuple, tuple[Program, Any]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def call(self, program: Program, function: Any, *args: Any, **static: Any) -> Any:
        """Calls a jitted function of a model and other arguments, one of those that make up a program."""
        key = (function, tuple(map(_layout, jax.tree.leaves(args[1:]))), *static.items())
        with self._lock:
            compiled = self._kept[key][1] if key in self._kept else None
        if compiled is None:
            compiled = function.lower(*args, **static).compile()
            self.num_compiled += 1
        with self._lock:
            self._kept[key] = program, compiled
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                (evicted, *_), _ = self._kept.popitem(last=False)
                evicted.clear_cache()  # jax.jit keeps the program too
        return compiled(*args)

    def find(self, needed: Program) -> Program | None:
        """Returns the smallest compiled program that covers what a batch needs, if there is one."""
        return min((program for program in self.ready() if program.covers(needed)), key=lambda it: it[3:], default=None)

    def ready(self) -> list[Program]:
        """Returns the programs that need no compilation."""
        with self._lock:
            last = [(key[0], program) for key, (program, _) in self._kept.items()]
        return [program for function, program in last if function in (decode_until, embed)]


def _layout(leaf: Any) -> tuple:
    """Returns the shape of an argument, and its sharding over several devices."""
    sharding = getattr(leaf, "sharding", None)
    return np.shape(leaf), sharding if sharding is not None and len(sharding.device_set) > 1 else None


class Compiler:
    """Compiles programs on a thread, so that requests that have theirs do not wait for it.

    Its methods are called with the lock of `changed`, which it notifies when a program is ready.
    """

    def __init__(self, compile_one: Callable[[Program], object], changed: threading.Condition):
        self._compile, self._changed = compile_one, changed
        self._pending: list[Program] = []
        self._failed: set[Program] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="t5x-lite-compiler", daemon=True)
        self._thread.start()

    def request(self, program: Program) -> bool:
        """Queues a program unless it is queued; returns False if too many are, or this one failed to compile."""
        if program in self._pending:
            return True
        if len(self._pending) >= MOST_PENDING or program in self._failed:
            return False
        self._pending.append(program)
        self._changed.notify_all()
        return True

    def has_failed(self, program: Program) -> bool:
        """Returns whether a program failed to compile, so that its batches fail too."""
        return program in self._failed

    def close(self) -> None:
        """Ends the thread after the present program."""
        self._is_closed = True
        self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Waits for the thread to end; without the lock."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closed)
                if self._is_closed:
                    return
                program = self._pending[0]
            try:
                self._compile(program)
                compiler_resources.return_memory()
            except Exception:
                logger.exception("a program failed to compile")
                self._failed.add(program)
            with self._changed:
                self._pending.remove(program)
                self._changed.notify_all()
