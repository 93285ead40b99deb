# SPDX-License-Identifier: Apache-2.0
"""The commands under `data` and `tokenizer`, and their options."""

from jsonargparse.typing import NonNegativeInt, PositiveInt

from t5x_lite.commands.options import Command, add_commands
from t5x_lite.commands.options.parser import Parser
from t5x_lite.commands.options.runs import add_fields, add_json
from t5x_lite.commands.options.train import add_config
from t5x_lite.config import RunConfig


def add_data(parser: Parser) -> None:
    """Adds the commands under `data`."""
    add_commands(parser, DATA_COMMANDS, dest="action")


def add_tokenizer(parser: Parser) -> None:
    """Adds the commands under `tokenizer`."""
    add_commands(parser, TOKENIZER_COMMANDS, dest="action")


def add_inspect(parser: Parser) -> None:
    """Adds the options of `data inspect`."""
    add_config(parser)
    parser.add_argument("--num_examples", type=PositiveInt, default=3, metavar="N", help="number of examples to print")
    parser.add_argument("--start", type=NonNegativeInt, default=0, metavar="N", help="number of examples to skip")
    add_json(parser, "text")
    _add_run(parser)


def add_prepare(parser: Parser) -> None:
    """Adds the options of `data prepare`."""
    add_config(parser)
    add_fields(parser, "commands:PrepareConfig")
    _add_run(parser)


def add_stats(parser: Parser) -> None:
    """Adds the options of `data stats`."""
    add_config(parser)
    add_json(parser, "tables")
    about = "fraction of the inputs, and of the targets, that the recommended lengths are to hold whole"
    parser.add_argument("--quantile", type=float, default=0.99, metavar="X", help=about)
    about = "SVG file for the histogram; null is lengths.svg in run_dir, or none without one"
    parser.add_argument("--output", type=str | None, metavar="FILE", help=about)
    _add_run(parser)


def _add_run(parser: Parser) -> None:
    """Adds the fields of a run, whose directory may be left out."""
    about = "run directory whose text is read, or prepared for training to reuse; null uses a temporary directory"
    parser.add_argument("--run_dir", type=str | None, metavar="DIR", help=about)
    parser.add_class_arguments(RunConfig, skip={"run_dir"})


def add_tokenizer_train(parser: Parser) -> None:
    """Adds the options of `tokenizer train`."""
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="SOURCE", help="documents, in the form of task.source"
    )
    parser.add_argument(
        "--byte_fallback", action="store_true", help="encode characters without a piece as bytes, not as unknown"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_fields(parser, "commands:TokenizerTrainConfig", skip={"input", "byte_fallback", "overwrite"})


DATA_COMMANDS = {
    "inspect": Command(
        "Prints training examples as text with masked spans, and as token ids.",
        "t5x-lite data inspect --config configs/smoke/cpu.yaml --num_examples 2",
        "data:add_inspect",
    ),
    "prepare": Command(
        "Tokenises a task's text once, into shards for --task.prepared.",
        "t5x-lite data prepare --config configs/smoke/cpu.yaml --output data/books",
        "data:add_prepare",
    ),
    "stats": Command(
        "Measures lengths, padding, mixing rates and speed of a task's data. Plots the lengths (extra plot).",
        "t5x-lite data stats --config configs/smoke/cpu.yaml",
        "data:add_stats",
    ),
}
TOKENIZER_COMMANDS = {
    "train": Command(
        "Trains a SentencePiece model with T5's special ids, for task.tokenizer.path.",
        "t5x-lite tokenizer train --input text.txt --output my.model --vocab_size 8192",
        "data:add_tokenizer_train",
    ),
}
