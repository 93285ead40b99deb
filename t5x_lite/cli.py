# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite COMMAND`: parses the command line and calls one command.

JAX and other heavy modules are imported when the command runs, so that `--help` is fast; those of the parser only after
Ctrl-C has its handler.
"""

import argparse
import dataclasses
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from t5x_lite.parallel import interrupts

if TYPE_CHECKING:
    from jsonargparse import Namespace

Config = TypeVar("Config")
SHOW_TRACEBACK = "T5X_LITE_TRACEBACK"
MULTI_PROCESS = ("train", "eval", "infer", "embed")
USER_ERRORS = (ValueError, OSError, FloatingPointError)
FAILED, USER_ERROR = 1, 2  # exit statuses of Python and argparse
PEER_LOST = 70
UNREAD = 141  # 128 + SIGPIPE, as shells report it
PATHS = ("checkpoint", "output", "source", "destination", "tokenizer")  # options outside the config classes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status; without arguments, runs the process's own and may end it."""
    is_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with interrupts.handled() as is_handled:
        try:
            status = _until_unread(arguments)
        except (Exception, KeyboardInterrupt) as error:
            if not interrupts.caused(error):
                raise
            print("t5x-lite: interrupted", file=sys.stderr)
            status = interrupts.STATUS
        # The worker of `serve` may still be in XLA.
        if is_process and is_handled and (status == interrupts.STATUS or arguments[:1] == ["serve"]):
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
        if not _is_unread(error):
            raise
        return UNREAD


def _is_unread(error: BaseException) -> bool:
    from t5x_lite.files.closed_pipe import is_closed_output

    return is_closed_output(error)


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
    if first == "eval":
        from t5x_lite.commands.options.eval import with_own_config

        arguments = with_own_config(arguments)
    try:
        options = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        from t5x_lite.commands.options.errors import explain

        print(explain(str(error), parser, arguments), file=sys.stderr)
        return USER_ERROR
    if options.subcommand is None:
        parser.print_help()
        return 0
    try:
        chosen = parser.instantiate(options)[options.subcommand]
        if options.subcommand == "infer":
            chosen.given = parser.parse_args(arguments, defaults=False)[options.subcommand]
        if options.subcommand in MULTI_PROCESS:
            from t5x_lite.parallel import multihost

            multihost.start(saves_on_sigterm=options.subcommand == "train")
        _run(options.subcommand, chosen)
    except (Exception, KeyboardInterrupt) as error:
        return _fail(options.subcommand, error)
    return 0


def _fail(subcommand: str, error: BaseException) -> int:
    """Prints an error and returns the exit status; re-raises errors that are not the user's.

    A process of a multi-process run exits immediately instead of raising, because the others wait for it.
    """
    lost = None
    if multi_process := _is_multiprocess(subcommand):
        from t5x_lite.parallel.joining import leave, lost_peer

        lost = lost_peer(error)
    if lost:
        message, status = lost, PEER_LOST
    elif interrupts.caused(error):
        message, status = "interrupted", interrupts.STATUS
    elif isinstance(error, BrokenPipeError) and _is_unread(error):
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
        leave(status)
    return status


def _is_multiprocess(subcommand: str) -> bool:
    if subcommand not in MULTI_PROCESS:
        return False
    from t5x_lite.parallel.multihost import is_multiprocess

    return is_multiprocess()


def expand_paths(options: "Namespace") -> None:
    """Expands `~` in the options that are paths, in place; configs expand their own fields."""
    from t5x_lite.config.paths import home_expanded

    for name in PATHS:
        if isinstance(options.get(name), str):
            named = name.upper() if name in ("source", "destination") else f"--{name}"
            options[name] = home_expanded(options[name], named)


def refuse_config_as_output(options: "Namespace") -> None:
    """Raises ValueError if a command would write its output over a config that it read."""
    output, configs = options.get("output"), options.get("config")
    if isinstance(output, str) and configs:
        from t5x_lite.files.same_file import refuse_overwriting

        refuse_overwriting([output], map(os.fspath, configs), "--output")


def _run(command: str, options: "Namespace") -> None:
    """Imports a command and calls it with its options."""
    from t5x_lite.config import RunConfig

    if "action" in options:
        command, options = f"{command} {options.action}", options[options.action]
    expand_paths(options)
    refuse_config_as_output(options)
    match command:
        case "train":
            from t5x_lite.commands import train

            train.run(_instance(RunConfig, options), profile=options.profile)
        case "eval":
            _evaluate(options)
        case "infer":
            _infer(options)
        case "embed":
            from t5x_lite.commands import embed
            from t5x_lite.config.commands import EmbedConfig

            embed.run(_instance(EmbedConfig, options))
        case "serve":
            from t5x_lite.commands import serve
            from t5x_lite.config.commands import ServeConfig

            serve.run(_instance(ServeConfig, options))
        case "attention":
            from t5x_lite.commands import attention
            from t5x_lite.config.commands import AttentionConfig

            attention.run(_instance(AttentionConfig, options))
        case "compile":
            from t5x_lite.commands import compile
            from t5x_lite.config.commands import CompileConfig

            compile.run(_instance(RunConfig, options), _instance(CompileConfig, options), as_json=options.json)
        case "models":
            from t5x_lite.commands import models

            lengths = {name: options[name] for name in ("inputs_length", "targets_length")}
            models.run(options.names, as_json=options.json, **lengths)
        case "convert":
            from t5x_lite.commands import convert

            how = {name: options[name] for name in ("format", "dtype", "tokenizer")}
            convert.run(options.source, options.destination, **how)
        case _:
            _run_nested(command, options)


def _run_nested(command: str, options: "Namespace") -> None:
    from t5x_lite.config import RunConfig

    match command:
        case "data inspect":
            from t5x_lite.commands import data_inspect

            how = {name: options[name] for name in ("num_examples", "start")}
            data_inspect.run(_instance(RunConfig, options), as_json=options.json, **how)
        case "data prepare":
            from t5x_lite.commands import data_prepare
            from t5x_lite.config.commands import PrepareConfig

            data_prepare.run(options.task, _instance(PrepareConfig, options))
        case "data stats":
            from t5x_lite.commands import data_stats

            data_stats.run(_instance(RunConfig, options), as_json=options.json, output=options.output)
        case "tokenizer train":
            from t5x_lite.commands import tokenizer_train
            from t5x_lite.config.commands import TokenizerTrainConfig

            options.input = tuple(options.input)
            tokenizer_train.run(_instance(TokenizerTrainConfig, options))


def _infer(options: "Namespace") -> None:
    from t5x_lite.config.commands import InferConfig
    from t5x_lite.config.generation import GenerationConfig

    chosen = _instance(InferConfig, options)
    if chosen.interactive:
        from t5x_lite.commands.chat.session import run
    else:
        from t5x_lite.commands.infer import run
    # Only fields given on the command line, to keep the model's own settings for the others.
    fields = [field.name for field in dataclasses.fields(GenerationConfig)]
    run(chosen, {name: options[name] for name in fields if name in options.given})


def _evaluate(options: "Namespace") -> None:
    from t5x_lite.commands import eval
    from t5x_lite.config import CheckpointConfig, RunConfig

    if not isinstance(options.checkpoint, str):
        raise ValueError("--checkpoint is missing: name a run directory")
    checkpoint, options.checkpoint = options.checkpoint, CheckpointConfig()
    eval.run(
        _instance(RunConfig, options),
        checkpoint,
        output=options.output,
        num_batches=None if options.num_batches == "all" else options.num_batches,
        print_json=options.json,
    )


def _instance(config: type[Config], options: "Namespace") -> Config:
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    return config(**{name: options[name] for name in names})
