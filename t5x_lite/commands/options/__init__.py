# SPDX-License-Identifier: Apache-2.0
"""The command line's subcommands, options and help. Imports nothing heavy, so that `--help` is fast."""

import argparse
import pkgutil
from typing import Any, NamedTuple

from t5x_lite import __version__
from t5x_lite.commands.options.parser import Parser

SHELLS = ("bash", "zsh", "tcsh")


class Command(NamedTuple):
    """A subcommand: its help, an example, and where its options are, imported only if they are asked for."""

    description: str  # the overview shows the first sentence
    example: str
    options: str  # MODULE:NAME, in this package, of the function that adds its options or nested commands


TRAIN = Command(
    "Pretrains or fine-tunes a model. The same command resumes an interrupted run.",
    "t5x-lite train --config configs/smoke/cpu.yaml --run_dir runs/first --train.num_steps 500",
    "train:add_train",
)


def make_parser(command: str | None = None) -> Parser:
    """Returns the command-line parser, with the options of `command` alone (faster) or, if None, of all commands."""
    parser = Parser(
        prog="t5x-lite",
        description="T5 in JAX: pretrain, fine-tune, evaluate, generate, serve and convert T5 models.",
        version=__version__,
    )
    if command == "train":
        commands = {"train": TRAIN}
    else:
        from t5x_lite.commands.options.overview import COMMANDS as commands
    if command not in commands:
        from t5x_lite.commands.options.completion import PrintCompletion

        parser.add_argument(
            "--print_completion",
            action=PrintCompletion,
            choices=SHELLS,
            default=argparse.SUPPRESS,
            help="print a completion script for a shell and exit (extra completion)",
        )
    add_commands(parser, commands, only=command, dest="subcommand", required=False)
    return parser


def add_commands(parser: Parser, commands: dict[str, Command], *, only: str | None = None, **options: Any) -> None:
    """Adds commands, with the options of `only` one of them or, if None, of all."""
    description = f"Run {parser.prog} COMMAND --help for an example and the options of a command."
    parser.usage = f"{parser.prog} COMMAND [OPTIONS]"
    subcommands = parser.add_subcommands(title="commands", description=description, metavar="COMMAND", **options)
    for name, command in commands.items():
        subparser = Parser(description=command.description, epilog=command.example)
        subcommands.add_subcommand(name, subparser, help=command.description.partition(". ")[0].rstrip("."))
        subparser.prog = f"{parser.prog} {name}"
        subparser.usage = f"{subparser.prog} [OPTIONS]"
        if only in (None, name):
            pkgutil.resolve_name(f"{__name__}.{command.options}")(subparser)
