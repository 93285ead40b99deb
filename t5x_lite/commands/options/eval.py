# SPDX-License-Identifier: Apache-2.0
"""Options of `eval`."""

import argparse
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from t5x_lite.commands.options.parser import Parser
from t5x_lite.commands.options.runs import add_json, add_step
from t5x_lite.commands.options.text import StoreText, TextType
from t5x_lite.commands.options.train import add_config
from t5x_lite.config import CheckpointConfig, RunConfig, TaskConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.files.run_config import RUN_CONFIG
from t5x_lite.files.run_path import run_and_step


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
    add_step(parser)
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
    parser.add_argument(
        "--trust",
        type=str | None,
        metavar="DIR",
        help="run directory whose config.yaml may name code to import, package.module:NAME; null imports only what the "
        "options, or a config named in them, say",
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
    run, _ = run_and_step(os.path.expanduser(found.checkpoint))
    own = pathlib.Path(run) / RUN_CONFIG
    config = ["--config", str(own)] if own.is_file() and not _has_config(rest) else []
    # `--checkpoint` comes last, because configs have a section `checkpoint` too.
    return ["eval", "--run_dir", run, *config, *rest, "--checkpoint", found.checkpoint]


def check_code(task: TaskConfig, checkpoint: str, trust: str | None, arguments: Sequence[str]) -> None:
    """Raises ValueError if the run directory's own config names code for a task that nobody vouches for.

    Args:
      task: the task to evaluate.
      checkpoint: the run directory.
      trust: the run directory whose code is trusted.
      arguments: those that the user wrote; a config named there may name any code.
    """
    if _has_config(arguments) or not os.path.isdir(checkpoint):
        return
    from t5x_lite.data.trust import check_trusted

    instead = "give the field yourself"
    check_trusted(as_plain(task), checkpoint, trust, given="\n".join(arguments), instead=instead)


def _has_config(arguments: Sequence[str]) -> bool:
    return any(argument.partition("=")[0] == "--config" for argument in arguments)
