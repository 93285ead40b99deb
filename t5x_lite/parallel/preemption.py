# SPDX-License-Identifier: Apache-2.0
"""Preemption: turns SIGTERM and SIGINT into a flag that the training loop checks between steps."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

import jax
from jax.experimental import multihost_utils

from t5x_lite.parallel import interrupts


class StopSignal:
    """Context manager in which the first signal sets `requested`, and a second SIGINT raises KeyboardInterrupt.

    In a single process, SIGINT keeps its meaning until `begin`: before the first step there is nothing to save. So does
    SIGTERM on the command line, where it ends the process.
    The processes of a run all stop after the same step, whichever of them received the signal: JAX catches SIGTERM and
    coordinates the step; SIGINT is forwarded as SIGTERM.
    """

    def __init__(self):
        self.requested: str | None = None  # name of the signal
        self._interrupted = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if jax.process_count() > 1:
            self._handle(signal.SIGINT, self._forward)
        elif signal.getsignal(signal.SIGTERM) is not interrupts.stop:
            self._handle(signal.SIGTERM, self._request)
        return self

    def begin(self) -> None:
        """Makes both signals stop the run after a step."""
        if jax.process_count() == 1:
            self._handle(signal.SIGINT, self._request)
            if signal.SIGTERM not in self._before:
                self._handle(signal.SIGTERM, self._request)

    def _handle(self, number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> None:
        if threading.current_thread() is threading.main_thread():  # the only thread that may set handlers
            self._before[number] = signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def reached(self, step: int) -> bool:
        """Returns whether the run should stop after this step; all processes must call it after every step."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.requested = signal.SIGTERM.name
            self._report()
        return self.requested is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
        self._report()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _report(self) -> None:
        # Not `print`, which is not reentrant and may be what the signal interrupted.
        sys.stderr.write(f"\n{self.requested}: saving after this step, then stopping (Ctrl-C again to stop unsaved)\n")
