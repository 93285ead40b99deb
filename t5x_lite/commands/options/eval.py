# SPDX-License-Identifier: Apache-2.0
"""Options of `eval`."""

import argparse
import os
import pathlib
from typing import Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from t5x_lite.commands.options.parser import Parser
from t5x_lite.commands.options.runs import add_config, add_json
from t5x_lite.commands.options.text import StoreText, TextType
from t5x_lite.config import CheckpointConfig, RunConfig


class CheckpointOrSection(TextType):
    """The checkpoint of `eval`, or the section of this name in a config file, which is about saving."""

    def __call__(self, value: Any) -> Any:
        """Returns the value; raises an error if it is neither text nor the section."""
        if not isinstance(value, (dict, Namespace)):
            return super().__call__(value)
        section = Parser()
        section.add_class_arguments(CheckpointConfig, "checkpoint")
        section.parse_object({"checkpoint": value})
        return value


def add_options(parser: Parser) -> None:
    """Adds the options of `eval`."""
    parser.add_argument(
        "--checkpoint",
        action=StoreText,
        type=CheckpointOrSection(str, frozenset({str})),
        required=True,
        metavar="DIR",
        help="run directory, or a model in any format that convert reads",
    )
    add_config(parser, ", including its tasks; null is the config of the run directory")
    parser.add_argument(
        "--output",
        type=str | None,
        metavar="FILE",
        help="JSON lines file for the task, inputs, prediction and targets of each example; - is standard output",
    )
    parser.add_argument(
        "--num_batches",
        type=PositiveInt | Literal["all"],
        default="all",
        metavar="N",
        help="maximum number of batches of train.batch_size examples per task, or all",
    )
    add_json(parser, "a table")
    parser.add_class_arguments(RunConfig, skip={"checkpoint"})


def with_own_config(arguments: list[str]) -> list[str]:
    """Adds the run directory's config to the arguments of `eval`, unless they name another one."""
    finder = argparse.ArgumentParser("t5x-lite eval", add_help=False, allow_abbrev=False)
    finder.add_argument("--checkpoint")
    found, rest = finder.parse_known_args(arguments[1:])
    if found.checkpoint is None:  # the one option to ask for: `--run_dir` follows from it
        return ["eval", "--run_dir", ".", *arguments[1:]]
    own = pathlib.Path(os.path.expanduser(found.checkpoint)) / "config.yaml"
    has_config = any(argument.partition("=")[0] == "--config" for argument in rest)
    config = ["--config", str(own)] if own.is_file() and not has_config else []
    # `--checkpoint` comes last, because configs have a section `checkpoint` too.
    return ["eval", "--run_dir", found.checkpoint, *config, *rest, "--checkpoint", found.checkpoint]
