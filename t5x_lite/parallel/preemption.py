# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop: SIGTERM and SIGINT become a flag that the loop looks at between steps."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Self

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """While entered, the first signal sets `requested`; a second one of SIGINT ends the process at once.

    Of several processes all stop after the same step, whichever of them got the signal: JAX catches SIGTERM and they
    agree on a step; SIGINT is handed on to it.
    """

    def __init__(self):
        self.requested: str | None = None  # the signal's name
        self._interrupted = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            handlers = dict.fromkeys(SIGNALS, self._request)
            if jax.process_count() > 1:
                handlers = {signal.SIGINT: self._hand_on}
            self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def reached(self, step: int) -> bool:
        """Returns whether the run is to stop after this step; to be asked after each, by all processes."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.requested = signal.SIGTERM.name
            self._say()
        return self.requested is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
        self._say()

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _say(self) -> None:
        # A write, not print: print may be what was interrupted.
        sys.stderr.write(f"\n{self.requested}: saving after this step, then stopping (Ctrl-C again to stop unsaved)\n")
