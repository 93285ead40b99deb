# SPDX-License-Identifier: Apache-2.0
"""The entry point of `t5x-lite` and `python -m t5x_lite`: Ctrl-C has its handler before anything else is imported."""

import os
import signal
import sys


def main() -> int:
    """Runs the process's command line and returns its exit status."""
    if os.name == "posix" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the command begins, and when it has ended: Python's handler would lose it or print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import contextlib

    from t5x_lite.parallel import interrupts

    status = interrupts.STATUS
    with interrupts.handled(), contextlib.suppress(KeyboardInterrupt):
        from t5x_lite.cli import main

        status = main()
    return status


if __name__ == "__main__":
    sys.exit(main())
