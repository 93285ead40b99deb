# SPDX-License-Identifier: Apache-2.0
"""The command line's subcommands, options and help. Imports nothing heavy, so that `--help` is fast."""

import argparse
import pkgutil
from collections.abc import Callable, Set
from typing import Any, Literal, NamedTuple

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from t5x_lite import __version__
from t5x_lite.commands.options.parser import PARSER_OPTIONS, Parser
from t5x_lite.commands.options.text import StoreText, TextType
from t5x_lite.config import CheckpointConfig, RunConfig

SHELLS = ("bash", "zsh", "tcsh")


class Command(NamedTuple):
    """A subcommand: its help, an example, and a function that adds its options or nested subcommands."""

    description: str  # the overview shows the first sentence
    example: str
    add_options: Callable[[Parser], object]


def make_parser(command: str | None = None) -> Parser:
    """Returns the command-line parser, with the options of `command` alone (faster) or, if None, of all commands."""
    parser = Parser(
        prog="t5x-lite",
        description="T5 in JAX: pretrain, fine-tune, evaluate, generate, serve and convert T5 models.",
        version=__version__,
        **PARSER_OPTIONS,
    )
    if command not in COMMANDS:
        from t5x_lite.commands.options.completion import PrintCompletion

        parser.add_argument(
            "--print_completion",
            action=PrintCompletion,
            choices=SHELLS,
            default=argparse.SUPPRESS,
            help="print a completion script for a shell and exit (extra completion)",
        )
    _add_commands(parser, COMMANDS, only=command, dest="subcommand", required=False)
    return parser


def _add_commands(parser: Parser, commands: dict[str, Command], *, only: str | None = None, **options: Any) -> None:
    """Adds commands, with the options of `only` one of them or, if None, of all."""
    description = f"Run {parser.prog} COMMAND --help for an example and the options of a command."
    parser.usage = f"{parser.prog} COMMAND [OPTIONS]"
    subcommands = parser.add_subcommands(title="commands", description=description, metavar="COMMAND", **options)
    for name, command in commands.items():
        subparser = Parser(description=command.description, epilog=command.example, **PARSER_OPTIONS)
        subcommands.add_subcommand(name, subparser, help=command.description.partition(". ")[0].rstrip("."))
        subparser.prog = f"{parser.prog} {name}"
        subparser.usage = f"{subparser.prog} [OPTIONS]"
        if only in (None, name):
            command.add_options(subparser)


def _add_config(parser: Parser, about: str = "; options after it override its fields") -> None:
    parser.add_argument(
        "--config", metavar="FILE", action="config", help=f"fields of a run in YAML, as a file or in place{about}"
    )


def _add_fields(parser: Parser, name: str, skip: Set[str] = frozenset()) -> None:
    """Adds the fields of a config class, imported only for the commands that use it."""
    parser.add_class_arguments(pkgutil.resolve_name(f"t5x_lite.config.{name}"), skip=set(skip))


def _add_json(parser: Parser, instead_of: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print JSON instead of {instead_of}")


def _add_train(parser: Parser) -> None:
    _add_config(parser)
    parser.add_argument("--profile", action="store_true", help="write a profiler trace of a few steps to run_dir")
    parser.add_class_arguments(RunConfig)


class CheckpointOrSection(TextType):
    """The checkpoint of `eval`, or the section of this name in a config file, which is about saving."""

    def __call__(self, value: Any) -> Any:
        """Returns the value; raises an error if it is neither text nor the section."""
        if not isinstance(value, (dict, Namespace)):
            return super().__call__(value)
        section = Parser(**PARSER_OPTIONS)
        section.add_class_arguments(CheckpointConfig, "checkpoint")
        section.parse_object({"checkpoint": value})
        return value


def _add_eval(parser: Parser) -> None:
    parser.add_argument(
        "--checkpoint",
        action=StoreText,
        type=CheckpointOrSection(str, frozenset({str})),
        required=True,
        metavar="DIR",
        help="run directory, or a model in any format that convert reads",
    )
    _add_config(parser, ", including its tasks; null is the config of the run directory")
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
    _add_json(parser, "a table")
    parser.add_class_arguments(RunConfig, skip={"checkpoint"})


def _add_infer(parser: Parser) -> None:
    parser.add_argument("--interactive", action="store_true", help="answer lines typed in the terminal; see /help")
    _add_fields(parser, "commands:InferConfig", skip={"interactive"})
    _add_fields(parser, "generation:GenerationConfig")


def _add_convert(parser: Parser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="run directory, Hugging Face or t5x_lite model directory, or T5X checkpoint"
    )
    parser.add_argument("destination", metavar="DESTINATION", help="new directory")
    parser.add_argument(
        "--format",
        type=Literal["hf", "t5x-lite", "t5x"],
        default="hf",
        help="format to write; t5x includes the optimizer state if there is one",
    )
    parser.add_argument(
        "--dtype",
        type=Literal["float32", "bfloat16"] | None,
        help="dtype of the parameters written; null is the source's dtype, or float32 for a run",
    )
    parser.add_argument(
        "--tokenizer",
        type=str | None,
        metavar="FILE",
        help="SentencePiece .model, tokenizer.json or bytes, for a T5X checkpoint; null is the source's tokenizer",
    )


def _add_data_inspect(parser: Parser) -> None:
    _add_config(parser)
    parser.add_argument("--num_examples", type=PositiveInt, default=3, metavar="N", help="number of examples to print")
    parser.add_argument("--start", type=NonNegativeInt, default=0, metavar="N", help="number of examples to skip")
    _add_json(parser, "text")
    parser.add_class_arguments(RunConfig)


def _add_data_prepare(parser: Parser) -> None:
    _add_config(parser)
    _add_fields(parser, "commands:PrepareConfig")
    parser.add_class_arguments(RunConfig)


def _add_data_stats(parser: Parser) -> None:
    _add_config(parser)
    _add_json(parser, "tables")
    about = "SVG file for the histogram; null is lengths.svg in run_dir"
    parser.add_argument("--output", type=str | None, metavar="FILE", help=about)
    parser.add_class_arguments(RunConfig)


def _add_tokenizer_train(parser: Parser) -> None:
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="SOURCE", help="documents, in the form of task.source"
    )
    parser.add_argument(
        "--byte_fallback", action="store_true", help="encode characters without a piece as bytes, not as unknown"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    _add_fields(parser, "commands:TokenizerTrainConfig", skip={"input", "byte_fallback", "overwrite"})


def _add_models(parser: Parser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="presets to list; all by default")
    _add_json(parser, "a table")
    for side, length in (("input", 512), ("target", 114)):
        about = f"number of {side} tokens to count FLOPs for"
        parser.add_argument(f"--{side}s_length", type=PositiveInt, default=length, metavar="N", help=about)


def _add_attention(parser: Parser) -> None:
    _add_json(parser, "a table")
    _add_fields(parser, "commands:AttentionConfig", skip={"json"})


def _add_compile(parser: Parser) -> None:
    _add_config(parser)
    _add_json(parser, "text")
    _add_fields(parser, "commands:CompileConfig")
    parser.add_class_arguments(RunConfig)


COMMANDS = {
    "train": Command(
        "Pretrains or fine-tunes a model. The same command resumes an interrupted run.",
        "t5x-lite train --config configs/smoke/cpu.yaml --run_dir runs/first --train.num_steps 500",
        _add_train,
    ),
    "eval": Command(
        "Computes metrics on held-out examples of a run's tasks, with its latest checkpoint.",
        "t5x-lite eval --checkpoint runs/first --task.metrics [accuracy]",
        _add_eval,
    ),
    "infer": Command(
        "Generates, fills spans or classifies each input line. Writes JSON lines; the same command resumes.",
        "t5x-lite infer --checkpoint runs/first --input questions.txt --output answers.jsonl",
        _add_infer,
    ),
    "embed": Command(
        "Writes the embedding of each input line, from the encoder of any model. The same command resumes JSON lines.",
        "t5x-lite embed --checkpoint sentence-t5-base --input texts.txt --output vectors.jsonl",
        lambda parser: _add_fields(parser, "commands:EmbedConfig"),
    ),
    "serve": Command(
        "Serves a model over HTTP with OpenAI's API. Endpoints: /v1/completions, /v1/embeddings, /v1/models, /health, "
        "/metrics.",
        "t5x-lite serve --checkpoint runs/first --port 8000",
        lambda parser: _add_fields(parser, "commands:ServeConfig"),
    ),
    "convert": Command(
        "Converts checkpoints between Hugging Face, T5X and t5x_lite formats.",
        "t5x-lite convert runs/first my-model --format hf",
        _add_convert,
    ),
    "data": Command(
        "Inspects, tokenises or measures the text of a task.",
        "t5x-lite data inspect --config configs/smoke/cpu.yaml",
        lambda parser: _add_commands(parser, DATA_COMMANDS, dest="action"),
    ),
    "tokenizer": Command(
        "Trains a SentencePiece vocabulary.",
        "t5x-lite tokenizer train --input text.txt --output my.model --vocab_size 8192",
        lambda parser: _add_commands(parser, TOKENIZER_COMMANDS, dest="make"),
    ),
    "models": Command(
        "Lists the published architectures with their sizes, memory and FLOPs per token.",
        "t5x-lite models t5_1_1_small t5_1_1_base",
        _add_models,
    ),
    "attention": Command(
        "Visualises attention maps and token probabilities of a text. Writes a page and a picture, and prints a table.",
        "t5x-lite attention --checkpoint runs/first --text 'Returns the <extra_id_0> of the array.'",
        _add_attention,
    ),
    "compile": Command(
        "Compiles a run ahead of time for TPUs or GPUs that are not present. Reports memory, FLOPs, communication and "
        "the best possible speed; needs neither the devices nor the text.",
        "t5x-lite compile --config configs/pretrain/t5_1_1_base_v5e_16.yaml --topology v5e:4x4",
        _add_compile,
    ),
}
DATA_COMMANDS = {
    "inspect": Command(
        "Prints training examples as text with masked spans, and as token ids.",
        "t5x-lite data inspect --config configs/smoke/cpu.yaml --num_examples 2",
        _add_data_inspect,
    ),
    "prepare": Command(
        "Tokenises a task's text once, into shards for --task.prepared.",
        "t5x-lite data prepare --config configs/smoke/cpu.yaml --output data/books",
        _add_data_prepare,
    ),
    "stats": Command(
        "Measures lengths, padding, mixing rates and speed of a task's data. Plots the lengths (extra plot).",
        "t5x-lite data stats --config configs/smoke/cpu.yaml",
        _add_data_stats,
    ),
}
TOKENIZER_COMMANDS = {
    "train": Command(
        "Trains a SentencePiece model with T5's special ids, for task.tokenizer.path.",
        "t5x-lite tokenizer train --input text.txt --output my.model --vocab_size 8192",
        _add_tokenizer_train,
    ),
}
