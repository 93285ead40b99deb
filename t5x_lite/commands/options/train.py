# SPDX-License-Identifier: Apache-2.0
"""Options of `train`."""

from typing import Literal

from t5x_lite.commands.options.parser import Parser
from t5x_lite.config import RunConfig


def add_config(parser: Parser, about: str = "; options after it override its fields") -> None:
    """Adds the option of config files."""
    parser.add_argument(
        "--config", metavar="FILE", action="config", help=f"fields of a run in YAML, as a file or in place{about}"
    )


def add_train(parser: Parser) -> None:
    """Adds the options of `train`."""
    add_config(parser)
    parser.add_argument("--profile", action="store_true", help="write a profiler trace of a few steps to run_dir")
    about = "look for mistakes, print what the run would be, and end; nothing is written"
    parser.add_argument("--check", action="store_true", help=about)
    parser.add_argument(
        "--allow_changes",
        action="store_true",
        help="continue the run in run_dir with changes to what decides its numbers; config.yaml records them",
    )
    parser.add_argument(
        "--from_step",
        type=int | Literal["latest_whole"] | None,
        metavar="STEP",
        help="go back to the checkpoint of this step, or to latest_whole, the newest that is not damaged; what is "
        "newer is moved to run_dir/set_aside",
    )
    parser.add_class_arguments(RunConfig)
