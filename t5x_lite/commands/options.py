# SPDX-License-Identifier: Apache-2.0
"""The command line's subcommands, options and help. Imports nothing heavy, so that `--help` is fast."""

import argparse
import typing
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from jsonargparse import ArgumentParser, DefaultHelpFormatter
from jsonargparse.typing import NonNegativeInt, PositiveInt

from t5x_lite import __version__
from t5x_lite.config import (
    AttentionConfig,
    CheckpointConfig,
    CompileConfig,
    GenerationConfig,
    InferConfig,
    PrepareConfig,
    RunConfig,
    ServeConfig,
    TokenizerTrainConfig,
)

SHELLS = ("bash", "zsh", "tcsh")


class HelpFormatter(DefaultHelpFormatter):
    """Shows an option's default as YAML writes it, and no Python types."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(".")
        if action.required and action.option_strings:
            return f"{text} (required)"
        is_flag, is_positional = action.nargs == 0, not action.option_strings
        if is_flag or is_positional or action.dest == "config" or action.default is argparse.SUPPRESS:
            return text
        return f"{text} (default: {as_yaml(action.default)})"

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(self._format_action, self._iter_indented_subactions(action)))
        return super()._format_action(action)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return METAVARS.get(getattr(action, "_typehint", None), super()._get_default_metavar_for_optional(action))


METAVARS = {int: "N", int | None: "N", float: "X", float | None: "X", bool: "{true,false}"}


class Parser(ArgumentParser):
    """A parser whose help starts with an example, the epilog."""

    def format_help(self) -> str:
        """Returns the help: usage, example, description and options by group."""
        for action in self._actions:
            if action.dest == "print_config":
                action.help = "print the resulting config as YAML and exit"
            elif action.metavar == "CONFIG" or any(name.endswith(".help") for name in action.option_strings):
                action.help = argparse.SUPPRESS
        for group in self._action_groups:
            sections = {action.dest.partition(".")[0] for action in group._group_actions}
            if len(sections) == 1 and any("." in action.dest for action in group._group_actions):
                (section,) = sections
                group.title = f"{section}: {str(group.title).removeprefix(f'{section}: ')}"
        example, self.epilog = self.epilog, None
        usage, _, rest = super().format_help().partition("\n\n")
        self.epilog = example
        return "\n\n".join([usage, f"example:\n  {example}", rest]) if example else f"{usage}\n\n{rest}"


PARSER_OPTIONS: dict[str, Any] = {"formatter_class": HelpFormatter, "allow_abbrev": False, "exit_on_error": False}


class PrintCompletion(argparse.Action):
    """Prints a completion script for a shell, made by shtab."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Prints the script and exits."""
        del namespace, option_string
        try:
            import shtab
        except ImportError as error:
            message = "completion scripts need shtab: pip install 't5x-lite[completion]'"
            raise argparse.ArgumentError(self, message) from error
        _complete_literals(parser)
        print(shtab.complete(parser, shell=values))
        parser.exit()


def _complete_literals(parser: Any) -> None:
    """Makes the values of options that are one of some words known to shtab."""
    for action in parser._actions:
        hint = getattr(action, "_typehint", None)
        if typing.get_origin(hint) is Literal:
            action.choices = typing.get_args(hint)
        elif isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                _complete_literals(subparser)


class Command(NamedTuple):
    """A subcommand: its help, an example, and a function that adds its options or nested subcommands."""

    description: str  # whose first sentence is shown in the overview
    example: str
    add_options: Callable[[Parser], object]


def make_parser(command: str | None = None) -> Parser:
    """Returns the parser of the command line.

    Args:
      command: the only command to add options for, which takes less time; None adds those of all.
    """
    parser = Parser(
        prog="t5x-lite",
        description="T5 in JAX: pretrain, fine-tune, evaluate, generate, serve and convert T5 models.",
        version=__version__,
        **PARSER_OPTIONS,
    )
    parser.add_argument(
        "--print_completion",
        action=PrintCompletion,
        choices=SHELLS,
        default=argparse.SUPPRESS,
        help="print a completion script for a shell and exit (extra completion)",
    )
    subparsers = _add_commands(parser, COMMANDS, required=False, dest="subcommand")
    for name in COMMANDS if command is None else COMMANDS.keys() & {command}:
        COMMANDS[name].add_options(subparsers[name])
    return parser


def _add_commands(parser: Parser, commands: dict[str, Command], **options: Any) -> dict[str, Parser]:
    """Adds commands without their options, and returns their parsers."""
    description = f"Run {parser.prog} COMMAND --help for an example and the options of a command."
    parser.usage = f"{parser.prog} COMMAND [OPTIONS]"
    subcommands = parser.add_subcommands(title="commands", description=description, metavar="COMMAND", **options)
    subparsers = {}
    for name, command in commands.items():
        subparsers[name] = subparser = Parser(description=command.description, epilog=command.example, **PARSER_OPTIONS)
        subcommands.add_subcommand(name, subparser, help=command.description.partition(". ")[0].rstrip("."))
        subparser.prog = f"{parser.prog} {name}"
        subparser.usage = f"{subparser.prog} [OPTIONS]"
    return subparsers


def _add_actions(parser: Parser, actions: dict[str, Command], dest: str) -> None:
    for name, subparser in _add_commands(parser, actions, dest=dest).items():
        actions[name].add_options(subparser)


def as_yaml(value: Any) -> str:
    """Returns a default value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    return repr(value) if value == "" or "\n" in str(value) else str(value)


def _add_config(parser: Parser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="config",
        help="YAML file with the fields of a run; options after it override its fields",
    )


def _add_json(parser: Parser, instead_of: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print JSON instead of {instead_of}")


def _add_train(parser: Parser) -> None:
    _add_config(parser)
    parser.add_argument("--profile", action="store_true", help="write a profiler trace of a few steps to run_dir")
    parser.add_class_arguments(RunConfig)


def _add_eval(parser: Parser) -> None:
    # Config files have a section `checkpoint`, about saving.
    parser.add_argument(
        "--checkpoint",
        type=str | CheckpointConfig,
        required=True,
        metavar="DIR",
        help="run directory, or a model in any format that convert reads",
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help="YAML file with the fields of a run, among them its tasks; null is the config of the run directory",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="JSON lines file for task, inputs, prediction and targets of each example, or - for standard output",
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
    parser.add_argument("--interactive", action="store_true", help="start a prompt in the terminal instead; see /help")
    parser.add_class_arguments(InferConfig, skip={"interactive"})
    parser.add_class_arguments(GenerationConfig)


def _add_convert(parser: Parser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="run directory, Hugging Face or t5x_lite model directory, or T5X checkpoint",
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
        help="dtype of the parameters written; null is the source's, and float32 for a run",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="SentencePiece .model, tokenizer.json or bytes, if the source is a T5X checkpoint; null is the source's",
    )


def _add_data_inspect(parser: Parser) -> None:
    _add_config(parser)
    parser.add_argument("--num_examples", type=PositiveInt, default=3, metavar="N", help="number of examples to print")
    parser.add_argument("--start", type=NonNegativeInt, default=0, metavar="N", help="number of examples to skip")
    _add_json(parser, "text")
    parser.add_class_arguments(RunConfig)


def _add_data_prepare(parser: Parser) -> None:
    _add_config(parser)
    parser.add_class_arguments(PrepareConfig)
    parser.add_class_arguments(RunConfig)


def _add_data_stats(parser: Parser) -> None:
    _add_config(parser)
    _add_json(parser, "tables")
    parser.add_argument("--output", metavar="FILE", help="SVG file for the histogram; null is lengths.svg in run_dir")
    parser.add_class_arguments(RunConfig)


def _add_tokenizer_train(parser: Parser) -> None:
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="SOURCE", help="documents, in the form of task.source"
    )
    parser.add_argument(
        "--byte_fallback", action="store_true", help="encode characters without a piece as bytes, not as unknown"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_class_arguments(TokenizerTrainConfig, skip={"input", "byte_fallback", "overwrite"})


def _add_models(parser: Parser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="presets to list; all by default")
    _add_json(parser, "a table")
    parser.add_argument(
        "--inputs_length", type=PositiveInt, default=512, metavar="N", help="number of input tokens to count FLOPs for"
    )
    parser.add_argument(
        "--targets_length",
        type=PositiveInt,
        default=114,
        metavar="N",
        help="number of target tokens to count FLOPs for",
    )


def _add_attention(parser: Parser) -> None:
    _add_json(parser, "a table")
    parser.add_class_arguments(AttentionConfig, skip={"json"})


def _add_compile(parser: Parser) -> None:
    _add_config(parser)
    _add_json(parser, "text")
    parser.add_class_arguments(CompileConfig)
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
    "serve": Command(
        "Serves a model over HTTP with OpenAI's API. Endpoints: /v1/completions, /v1/embeddings, /v1/models, /health, "
        "/metrics.",
        "t5x-lite serve --checkpoint runs/first --port 8000",
        lambda parser: parser.add_class_arguments(ServeConfig),
    ),
    "convert": Command(
        "Converts checkpoints between Hugging Face, T5X and t5x_lite formats.",
        "t5x-lite convert runs/first my-model --format hf",
        _add_convert,
    ),
    "data": Command(
        "Inspects, tokenizes or measures the text of a task.",
        "t5x-lite data inspect --config configs/smoke/cpu.yaml",
        lambda parser: _add_actions(parser, DATA_COMMANDS, dest="action"),
    ),
    "tokenizer": Command(
        "Trains a SentencePiece vocabulary.",
        "t5x-lite tokenizer train --input text.txt --output my.model --vocab_size 8192",
        lambda parser: _add_actions(parser, TOKENIZER_COMMANDS, dest="make"),
    ),
    "models": Command(
        "Lists the published architectures with their sizes, memory and FLOPs per token.",
        "t5x-lite models t5_1_1_small t5_1_1_base",
        _add_models,
    ),
    "attention": Command(
        "Visualizes attention maps and token probabilities of a text. Writes a page and a picture, and prints a table.",
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
        "Tokenizes a task's text once, into shards for --task.prepared.",
        "t5x-lite data prepare --config configs/smoke/cpu.yaml --output data/books",
        _add_data_prepare,
    ),
    "stats": Command(
        "Measures lengths, padding, mixing rates and speed of a task's data. Draws a histogram of lengths.",
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
