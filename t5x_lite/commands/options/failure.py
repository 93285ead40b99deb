# SPDX-License-Identifier: Apache-2.0
"""Reports the failure of a command: its message and its exit status."""

import os
import sys
import traceback

from t5x_lite.files.closed_pipe import is_closed_output
from t5x_lite.parallel import interrupts

SHOW_TRACEBACK = "T5X_LITE_TRACEBACK"
USER_ERRORS = (ValueError, OSError, FloatingPointError)
FAILED, USER_ERROR = 1, 2  # exit statuses of Python and argparse
PEER_LOST = 70
UNREAD = 141  # 128 + SIGPIPE, as shells report it


def report(subcommand: str, error: BaseException, *, multi_process: bool) -> int:
    """Prints an error and returns the exit status; re-raises errors that are not the user's.

    A process of a multi-process run exits instead of raising, because the others wait for it; after a failure that is
    probably theirs too, it first gives them time to report it.
    """
    lost = None
    if multi_process:
        from t5x_lite.parallel.joining import leave, lost_peer

        lost = lost_peer(error)
    if lost:
        message, status = lost, PEER_LOST
    elif interrupts.caused(error):
        message, status = "interrupted", interrupts.STATUS
    elif isinstance(error, BrokenPipeError) and is_closed_output(error):
        message, status = "", UNREAD
    elif isinstance(error, USER_ERRORS):
        from t5x_lite.commands.options.errors import cause

        message, status = cause(str(error)), USER_ERROR
    else:
        message, status = None, FAILED
    if message is None or (message and os.environ.get(SHOW_TRACEBACK) and isinstance(error, Exception)):
        if not multi_process:
            raise error
        traceback.print_exception(error)
    if message:
        print(f"t5x-lite {subcommand}: {message}", file=sys.stderr)
    if multi_process:
        leave(status, together=status in (FAILED, USER_ERROR))
    return status
