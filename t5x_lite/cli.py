# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite COMMAND`: parses the command line and calls one command.

JAX and other heavy modules are imported when the command runs, so that `--help` is fast; those of the parser only after
Ctrl-C has its handler.
"""

import argparse
import contextlib
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from t5x_lite.parallel import interrupts

if TYPE_CHECKING:
    from jsonargparse import Namespace

ASKED = ("infer", "eval", "data")  # commands for which it matters what was given and what is a default
MULTI_PROCESS = ("train", "eval", "infer", "embed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status; without arguments, runs the process's own and may end it."""
    is_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    is_restartable = arguments[:1] == ["train"]
    with interrupts.handled() as is_handled, interrupts.restartable() if is_restartable else contextlib.nullcontext():
        try:
            status = _until_unread(arguments)
        except (Exception, KeyboardInterrupt) as error:
            if not interrupts.caused(error):
                raise
            print("t5x-lite: interrupted", file=sys.stderr)
            status = interrupts.STATUS
        # The worker of `serve` may still be in XLA, also where Ctrl-C is ignored, as in a script's background jobs.
        if is_process and (arguments[:1] == ["serve"] or (is_handled and status == interrupts.STATUS)):
            interrupts.leave(status)
    return status


def _until_unread(arguments: list[str]) -> int:
    """Runs a command line; returns the status of SIGPIPE, without a message, once nobody reads the output."""
    try:
        try:
            return _main(arguments)
        finally:  # otherwise Python would report the error itself when it exits
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
    except (BrokenPipeError, SystemExit) as error:
        from t5x_lite.commands.options.failure import UNREAD
        from t5x_lite.files.closed_pipe import is_closed_output

        if not is_closed_output(error):
            raise
        return UNREAD


def _main(arguments: list[str]) -> int:
    from t5x_lite.commands.options import make_parser
    from t5x_lite.commands.options.text import attach_values

    first = "".join(arguments[:1])
    parser = make_parser(None if first.startswith("--print_completion") else first)  # completion needs all options
    arguments = attach_values(parser, arguments)
    if first == "infer":
        from t5x_lite.config.generation import RENAMED

        for old, new in RENAMED.items():
            arguments = [re.sub(rf"^--{old}(?==|$)", f"--{new}", argument) for argument in arguments]
    written = arguments
    if first == "eval":
        from t5x_lite.commands.options.eval import with_own_config

        arguments = with_own_config(arguments)
    try:
        options = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        from t5x_lite.commands.options.errors import explain
        from t5x_lite.commands.options.failure import USER_ERROR

        print(explain(str(error), parser, arguments), file=sys.stderr)
        return USER_ERROR
    if options.subcommand is None:
        parser.print_help()
        return 0
    try:
        chosen = parser.instantiate(options)[options.subcommand]
        if options.subcommand in ASKED:
            chosen.given = parser.parse_args(arguments, defaults=False)[options.subcommand]
        if options.subcommand == "eval":
            chosen.written = written
        if options.subcommand in MULTI_PROCESS:
            from t5x_lite.parallel import multihost

            multihost.start(saves_on_sigterm=options.subcommand == "train")
        return _run(options.subcommand, chosen)
    except (Exception, KeyboardInterrupt) as error:
        from t5x_lite.commands.options.failure import report

        names = (options.subcommand, options[options.subcommand].get("action"))
        return report(" ".join(filter(None, names)), error, multi_process=_is_multiprocess(options.subcommand))


def _is_multiprocess(subcommand: str) -> bool:
    if subcommand not in MULTI_PROCESS or "jax" not in sys.modules:  # which takes a second to import
        return False
    from t5x_lite.parallel.multihost import is_multiprocess

    return is_multiprocess()


def _run(command: str, options: "Namespace") -> int:
    """Calls a command with its options; returns the exit status."""
    if command == "train":
        from t5x_lite.commands import train
        from t5x_lite.config import RunConfig
        from t5x_lite.config.plain import pick

        how = {name: options[name] for name in ("profile", "allow_changes", "from_step", "check")}
        return train.run(pick(RunConfig, options), **how)
    from t5x_lite.commands.dispatch import call

    call(command, options)
    return 0
