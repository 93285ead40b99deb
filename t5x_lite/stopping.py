# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop: SIGTERM and SIGINT become a flag that the loop looks at between steps."""

import signal
import sys
import threading
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """While entered, the first signal sets `requested`; a second one of SIGINT ends the process at once."""

    def __init__(self):
        self.requested: str | None = None  # the signal's name
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
        # A write, not print: print may be what was interrupted.
        sys.stderr.write(f"\n{self.requested}: saving after this step, then stopping (Ctrl-C again to stop unsaved)\n")
