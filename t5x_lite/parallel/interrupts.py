# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: one ends a command at any moment, start-up included, and a second one kills it.

Python's KeyboardInterrupt is lost in callbacks of the garbage collector, such as JAX's, and in destructors; it breaks
extension modules that are being imported; and it waits for compilation to finish. So a thread reads each signal from a
pipe as it arrives, delivers it again until it can be raised, and ends the process if nothing else does.

Imports only the standard library, since it is installed before anything else is imported.
"""

import atexit
import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

STATUS = 130  # what shells report for a process that SIGINT ended
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: nothing is lost, and the same command goes on
SECONDS_TO_END = 5.0  # for clean-up, or for compiled code to return, after the first Ctrl-C
RETRY_SECONDS = 0.1
SAME_PRESS_SECONDS = 0.2  # launchers forward a signal that the terminal has sent to all processes
THREAD = "t5x-lite-interrupts"
END, HANDLED, LOST = b"\xff", b"\xfe", b"\xfd"  # in the pipe; other bytes are numbers of signals

_active: "_Interrupts | None" = None
_stopping = threading.Lock()


@contextlib.contextmanager
def handled() -> Iterator[bool]:
    """Handles Ctrl-C in this block; yields False in other threads, or if Ctrl-C is ignored or has another handler."""
    global _active
    is_main, handler = threading.current_thread() is threading.main_thread(), signal.getsignal(signal.SIGINT)
    if not is_main or _active or handler not in (signal.default_int_handler, signal.SIG_DFL) or os.name != "posix":
        yield is_main and _active is not None
        return
    _active = _Interrupts()
    try:
        with _active:
            yield True
    finally:
        _active = None


@contextlib.contextmanager
def restartable() -> Iterator[None]:
    """Lets SIGTERM end the process with `STOPPED`, until the command itself handles it: there is nothing to save."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stop(number: int = signal.SIGTERM, frame: FrameType | None = None) -> NoReturn:
    """Ends the process with `STOPPED`, without any clean-up."""
    del frame
    name = signal.Signals(number).name
    line = f"\nt5x-lite train: stopped by {name} with nothing to save; run the same command again\n"
    if _stopping.acquire(blocking=False):
        with contextlib.suppress(OSError):
            os.write(2, line.encode())
    else:
        time.sleep(RETRY_SECONDS)  # the thread or the handler, whichever is first, is saying so
    os._exit(STOPPED)


def caused(error: BaseException) -> bool:
    """Returns whether an error is an interrupt, or was raised while one was to end the command."""
    return isinstance(error, KeyboardInterrupt) or (_active is not None and _active.pressed)


def forget() -> None:
    """Marks the last Ctrl-C as handled by a command that goes on, so that the next one is the first again."""
    if _active is not None:
        _active.forget()


def leave(status: int) -> NoReturn:
    """Ends the process after Python's clean-up at exit, but without freeing what threads of XLA may still use.

    A thread of this package that is still running, such as the one in which a server loads its model, may be in the
    middle of what the clean-up would take away, so none is done then.
    """
    if all(thread.name == THREAD or not thread.name.startswith("t5x-lite-") for thread in threading.enumerate()):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class _Interrupts:
    """The handler of SIGINT, and the thread that makes sure that it ends the process."""

    def __init__(self):
        self.pressed = False  # whether Ctrl-C is to end the command
        self._raised = False  # whether KeyboardInterrupt is on its way
        self._num_presses, self._last_press, self._deadline = 0, -math.inf, math.inf
        self._is_shared = False  # with a handler that asks for a second press before it interrupts, as in training
        self._num_sent = 0  # signals from the thread, not from the user
        self._read, self._write = os.pipe()
        self._thread = threading.Thread(target=self._watch, name=THREAD, daemon=True)

    def __enter__(self) -> "_Interrupts":
        os.set_blocking(self._write, False)
        self._fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # From here on, signals wait in the pipe for the thread.
        self._raised = True
        self._handler = signal.signal(signal.SIGINT, self._on_signal)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        self._thread.start()
        self._raised = False
        return self

    def __exit__(self, *_: object) -> None:
        self._raised = True  # the command has ended: nothing is left to interrupt
        signal.set_wakeup_fd(self._fd)
        sys.unraisablehook = self._hook
        os.write(self._write, END)
        self._thread.join()
        os.close(self._write)
        os.close(self._read)
        signal.signal(signal.SIGINT, self._handler)

    def forget(self) -> None:
        self._raised = False
        os.write(self._write, HANDLED)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number
        while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        if frame is None and not self._raised:  # nothing is being imported
            self.pressed = self._raised = True
            raise KeyboardInterrupt

    def _on_unraisable(self, unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.pressed, self._raised = True, False
            os.write(self._write, LOST)
        else:
            self._hook(unraisable)

    def _watch(self) -> None:
        while True:
            waits = self.pressed and not self._raised
            seconds = RETRY_SECONDS if waits else max(0.0, min(self._deadline - time.monotonic(), 3600.0))
            ready, _, _ = select.select([self._read], [], [], seconds)
            received = os.read(self._read, 64) if ready else b""
            if END in received:
                return
            for byte in received:
                if byte == HANDLED[0]:
                    self.pressed, self._num_presses, self._deadline = False, 0, math.inf
                elif byte == signal.SIGINT:
                    self._count()
                elif byte == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is stop:
                    stop()  # also while compiled code runs, such as that of an import
            if waits and not ready:
                self._num_sent += 1
                if not self._is_installed():  # the other handler decides what the press means
                    self.pressed, self._deadline = False, math.inf
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            if time.monotonic() > self._deadline:
                _end()

    def _count(self) -> None:
        """Counts a press of Ctrl-C, and ends the process at one too many."""
        now = time.monotonic()
        if self._num_sent:
            self._num_sent -= 1
        elif now - self._last_press > SAME_PRESS_SECONDS:
            self._num_presses, self._last_press = self._num_presses + 1, now
            self._is_shared |= not self._is_installed()
            if self._num_presses > (2 if self._is_shared else 1):
                _end()
            if not self._is_shared:
                self.pressed, self._deadline = True, now + SECONDS_TO_END

    def _is_installed(self) -> bool:
        return signal.getsignal(signal.SIGINT) == self._on_signal


def _end() -> NoReturn:
    """Ends the process and its workers without any clean-up."""
    with contextlib.suppress(OSError):
        os.write(2, b"\nt5x-lite: interrupted\n")
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for worker in multiprocessing.active_children():
            worker.kill()
    os._exit(STATUS)
