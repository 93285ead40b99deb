# SPDX-License-Identifier: Apache-2.0
"""Options of `compile` and `runs`, and those that several commands have."""

import pkgutil
from collections.abc import Set

from jsonargparse.typing import NonNegativeInt

from t5x_lite.commands.options.parser import Parser
from t5x_lite.commands.options.train import add_config
from t5x_lite.config import RunConfig


def add_fields(parser: Parser, name: str, skip: Set[str] = frozenset()) -> None:
    """Adds the fields of a config class below `t5x_lite.config`, imported only for the commands that use it."""
    parser.add_class_arguments(pkgutil.resolve_name(f"t5x_lite.config.{name}"), skip=set(skip))


def add_json(parser: Parser, instead_of: str) -> None:
    """Adds the option of output as JSON."""
    parser.add_argument("--json", action="store_true", help=f"print JSON instead of {instead_of}")


def add_step(parser: Parser) -> None:
    """Adds the option of a run's checkpoint."""
    about = "step of the checkpoint of a run; null is the newest"
    number = NonNegativeInt | None  # type: ignore[operator]
    parser.add_argument("--step", type=number, metavar="N", help=about)


def add_runs(parser: Parser) -> None:
    """Adds the options of `runs`."""
    about = "directory to look for runs in, at any depth; runs by default"
    parser.add_argument("directory", nargs="?", default="runs", metavar="DIR", help=about)
    add_json(parser, "a table")


def add_compile(parser: Parser) -> None:
    """Adds the options of `compile`."""
    add_config(parser)
    add_json(parser, "text")
    add_fields(parser, "commands:CompileConfig")
    parser.add_class_arguments(RunConfig)
