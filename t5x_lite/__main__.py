# SPDX-License-Identifier: Apache-2.0
"""The entry point of `t5x-lite` and `python -m t5x_lite`: Ctrl-C has its handler before anything else is imported."""

import contextlib
import signal
import sys

from t5x_lite.parallel import interrupts


def main() -> int:
    """Runs the process's command line and returns its exit status."""
    status = interrupts.STATUS
    with interrupts.handled() as is_handled, contextlib.suppress(KeyboardInterrupt):
        from t5x_lite.cli import main

        status = main()
    if is_handled:  # from here on, without a traceback from what Python does when it exits
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return status


if __name__ == "__main__":
    sys.exit(main())
