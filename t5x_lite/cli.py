# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite SUBCOMMAND`: from arguments to one function call, nothing else.

What is heavy is imported when its subcommand runs, so that `--help` answers at once.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from jsonargparse import ArgumentParser, Namespace
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
from t5x_lite.config.generation import RENAMED

Config = TypeVar(
    "Config",
    RunConfig,
    InferConfig,
    ServeConfig,
    AttentionConfig,
    CompileConfig,
    PrepareConfig,
    TokenizerTrainConfig,
)
SHOW_TRACEBACK = "T5X_LITE_TRACEBACK"
OF_SEVERAL_PROCESSES = ("train", "eval", "infer")
MISTAKES = (ValueError, OSError, FloatingPointError)
FAILED, USER_MISTAKE, INTERRUPTED = 1, 2, 130  # exit statuses, as Python, argparse and shells have them
PEER_LOST = 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit status."""
    parser = make_parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for old, new in RENAMED.items():
        arguments = [re.sub(rf"^--{old}(?==|$)", f"--{new}", argument) for argument in arguments]
    options = parser.parse_args(with_own_config(arguments) if arguments[:1] == ["eval"] else arguments)
    if options.subcommand is None:
        parser.print_help()
        return 0
    try:
        chosen = parser.instantiate(options)[options.subcommand]
        if options.subcommand == "infer":
            chosen.given = parser.parse_args(arguments, defaults=False)[options.subcommand]
        if options.subcommand in OF_SEVERAL_PROCESSES:
            from t5x_lite.parallel import multihost

            multihost.start(saves_on_sigterm=options.subcommand == "train")
        COMMANDS[options.subcommand](chosen)
    except (Exception, KeyboardInterrupt) as error:
        return _failed(options.subcommand, error)
    return 0


def _failed(subcommand: str, error: BaseException) -> int:
    """Says what went wrong and returns the exit status; what is no user's mistake is raised.

    One of several processes leaves at once, and raises nothing: the others wait for it.
    """
    of_several, lost = False, None
    if subcommand in OF_SEVERAL_PROCESSES:
        from t5x_lite.parallel import multihost

        of_several, lost = multihost.is_of_several(), multihost.lost_peer(error)
    if lost:
        message, status = lost, PEER_LOST
    elif isinstance(error, KeyboardInterrupt):
        message, status = "interrupted", INTERRUPTED
    else:
        message, status = (str(error), USER_MISTAKE) if isinstance(error, MISTAKES) else (None, FAILED)
    if message is None or (os.environ.get(SHOW_TRACEBACK) and isinstance(error, Exception)):
        if not of_several:
            raise error
        traceback.print_exception(error)
    if message is not None:
        print(f"t5x-lite {subcommand}: {message}", file=sys.stderr)
    if of_several:
        multihost.leave(status)
    return status


def make_parser() -> ArgumentParser:
    """Returns the parser of the whole command line."""
    parser = ArgumentParser(
        prog="t5x-lite",
        description="T5 in JAX: pretrain it on text, fine-tune it, ask it, convert it.",
        version=__version__,
        allow_abbrev=False,
    )
    subcommands = parser.add_subcommands(required=False)
    train = ArgumentParser(
        description="Trains as a config says; the same command again goes on where it stopped.", allow_abbrev=False
    )
    train.add_argument("--config", action="config", help="YAML file with the fields below; what comes later wins")
    train.add_argument("--profile", action="store_true", help="write a trace of a few steps to RUN_DIR/profile")
    train.add_class_arguments(RunConfig)
    subcommands.add_subcommand("train", train, help="pretrain; resumes by itself")
    infer = ArgumentParser(
        description="Answers every line: fills in its blanks, goes on with it, labels it; writes JSON lines.",
        allow_abbrev=False,
    )
    infer.add_argument(
        "--interactive",
        action="store_true",
        help="a prompt in the terminal in place of files; /help lists what it knows",
    )
    infer.add_class_arguments(InferConfig, skip={"interactive"})
    infer.add_class_arguments(GenerationConfig)
    subcommands.add_subcommand("infer", infer, help="fill in blanks, answer, label")
    _add_serve(subcommands)
    _add_attention(subcommands)
    _add_data(subcommands)
    _add_eval(subcommands)
    _add_tokenizer(subcommands)
    _add_convert(subcommands)
    _add_models(subcommands)
    _add_compile(subcommands)
    return parser


def _add_serve(subcommands: Any) -> None:
    serve = ArgumentParser(
        description="Answers over HTTP as OpenAI does: /v1/completions, /v1/embeddings, /v1/models; /health, /metrics.",
        allow_abbrev=False,
    )
    serve.add_class_arguments(ServeConfig)
    subcommands.add_subcommand("serve", serve, help="an OpenAI-compatible server")


def _add_attention(subcommands: Any) -> None:
    attention = ArgumentParser(
        description="Shows what a model attends to, by layer and head, and how probable it finds each token: writes a "
        "page and a picture, prints a table.",
        allow_abbrev=False,
    )
    attention.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    attention.add_class_arguments(AttentionConfig, skip={"json"})
    subcommands.add_subcommand("attention", attention, help="see attention maps and probabilities")


def _add_data(subcommands: Any) -> None:
    data = ArgumentParser(description="Looks at what a config makes of its text.", allow_abbrev=False)
    inspect = ArgumentParser(
        description="Prints examples as training sees them: text with the blanks marked, then ids.", allow_abbrev=False
    )
    inspect.add_argument("--config", action="config", help="YAML file as for train; what comes later wins")
    inspect.add_argument("--num_examples", type=PositiveInt, default=3, help="how many to print")
    inspect.add_argument("--start", type=NonNegativeInt, default=0, help="how many of the first ones to skip")
    inspect.add_argument("--json", action="store_true", help="print JSON lines instead")
    inspect.add_class_arguments(RunConfig)
    prepare = ArgumentParser(
        description="Tokenises a task's text once, into shards that any run reads with --task.prepared.",
        allow_abbrev=False,
    )
    prepare.add_argument("--config", action="config", help="YAML file as for train; what comes later wins")
    prepare.add_class_arguments(PrepareConfig)
    prepare.add_class_arguments(RunConfig)
    stats = ArgumentParser(
        description="Counts and measures a config's text: lengths, padding, rates, speed; draws its lengths.",
        allow_abbrev=False,
    )
    stats.add_argument("--config", action="config", help="YAML file as for train; what comes later wins")
    stats.add_argument("--json", action="store_true", help="print one JSON object instead")
    stats.add_argument("--output", help="SVG file for a histogram of the lengths; null is lengths.svg in run_dir")
    stats.add_class_arguments(RunConfig)
    subcommands.add_subcommand("data", data, help="look at the data, prepare or measure them")
    actions = data.add_subcommands(dest="action")
    actions.add_subcommand("inspect", inspect, help="print examples")
    actions.add_subcommand("prepare", prepare, help="tokenise once, for many runs")
    actions.add_subcommand("stats", stats, help="count and measure")


def _add_eval(subcommands: Any) -> None:
    measure = ArgumentParser(
        description="Measures the newest checkpoint of a run on the held-out examples of a config's tasks.",
        allow_abbrev=False,
    )
    # A config file says under the same name how to save checkpoints.
    measure.add_argument(
        "--checkpoint",
        type=str | CheckpointConfig,
        required=True,
        metavar="DIR",
        help="a run directory, or any model that convert reads",
    )
    measure.add_argument(
        "--config",
        action="config",
        help="YAML file as for train, which says what to measure on; the run directory's own if there is none",
    )
    measure.add_argument(
        "--output", metavar="FILE|-", help="where to write a JSON line an example: task, inputs, prediction, targets"
    )
    measure.add_argument(
        "--num_batches",
        type=PositiveInt | Literal["all"],
        default="all",
        metavar="N|all",
        help="of train.batch_size examples, read at most of each task",
    )
    measure.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    measure.add_class_arguments(RunConfig, skip={"checkpoint"})
    subcommands.add_subcommand("eval", measure, help="a task's metrics")


def _add_tokenizer(subcommands: Any) -> None:
    tokenizer = ArgumentParser(description="Makes what turns text into ids.", allow_abbrev=False)
    train = ArgumentParser(
        description="Trains a SentencePiece model with T5's ids, for task.tokenizer.path; says what it did.",
        allow_abbrev=False,
    )
    train.add_argument(
        "--input", nargs="+", required=True, metavar="SOURCE", help="where documents come from, named as in task.source"
    )
    train.add_argument(
        "--byte_fallback", action="store_true", help="make characters without a piece their UTF-8 bytes, not unknown"
    )
    train.add_argument("--overwrite", action="store_true", help="replace files that exist")
    train.add_class_arguments(TokenizerTrainConfig, skip={"input", "byte_fallback", "overwrite"})
    subcommands.add_subcommand("tokenizer", tokenizer, help="make a vocabulary")
    tokenizer.add_subcommands(dest="make").add_subcommand("train", train, help="train a SentencePiece model")


def _add_convert(subcommands: Any) -> None:
    convert = ArgumentParser(
        description="Writes a model as Hugging Face, T5X or t5x_lite has them; says what it is doing.",
        allow_abbrev=False,
    )
    convert.add_argument(
        "source",
        metavar="SOURCE",
        help="a run directory, a model directory of Hugging Face or t5x_lite, or a T5X checkpoint",
    )
    convert.add_argument("destination", metavar="DESTINATION", help="a new directory")
    convert.add_argument(
        "--format",
        type=Literal["hf", "t5x-lite", "t5x"],
        default="hf",
        help="what is written: t5x has the optimizer's state too, where there is one",
    )
    convert.add_argument(
        "--dtype",
        type=Literal["float32", "bfloat16"] | None,
        help="of the numbers written; null is that of the source, float32 for a run",
    )
    convert.add_argument(
        "--tokenizer",
        metavar="FILE|bytes",
        help="a SentencePiece .model or tokenizer.json, which a T5X checkpoint lacks; null is the source's own",
    )
    subcommands.add_subcommand("convert", convert, help="a model to and from Hugging Face and T5X")


def _add_compile(subcommands: Any) -> None:
    compiler = ArgumentParser(
        description="Compiles a run for machines that are not at hand: what it needs, whether it fits, how fast it can "
        "be at best. Reads neither its text nor its devices.",
        allow_abbrev=False,
    )
    compiler.add_argument("--config", action="config", help="YAML file as for train; what comes later wins")
    compiler.add_argument("--json", action="store_true", help="print one JSON object instead of a text")
    compiler.add_class_arguments(CompileConfig)
    compiler.add_class_arguments(RunConfig)
    subcommands.add_subcommand("compile", compiler, help="compile for a pod, without one")


def _add_models(subcommands: Any) -> None:
    models = ArgumentParser(
        description="Lists the published architectures: their sizes, the memory they take and their FLOPs a token.",
        allow_abbrev=False,
    )
    models.add_argument("names", nargs="*", metavar="NAME", help="presets to list; all if none is named")
    models.add_argument("--json", action="store_true", help="print one JSON list in place of a table")
    models.add_argument("--inputs_length", type=PositiveInt, default=512, help="tokens that FLOPs are counted for")
    models.add_argument("--targets_length", type=PositiveInt, default=114, help="the same of the targets")
    subcommands.add_subcommand("models", models, help="list the presets")


def train(options: Namespace) -> None:
    """`t5x-lite train`."""
    from t5x_lite.commands import train

    train.run(_instance(RunConfig, options), profile=options.profile)


def infer(options: Namespace) -> None:
    """`t5x-lite infer`."""
    chosen = _instance(InferConfig, options)
    if chosen.interactive:
        from t5x_lite.commands.chat.session import run
    else:
        from t5x_lite.commands.infer import run
    # Only what was given: the model may come with settings of its own.
    fields = [field.name for field in dataclasses.fields(GenerationConfig)]
    run(chosen, {name: options[name] for name in fields if name in options.given})


def serve(options: Namespace) -> None:
    """`t5x-lite serve`."""
    from t5x_lite.commands import serve

    serve.run(_instance(ServeConfig, options))


def attention(options: Namespace) -> None:
    """`t5x-lite attention`."""
    from t5x_lite.commands import attention

    attention.run(_instance(AttentionConfig, options))


def evaluate(options: Namespace) -> None:
    """`t5x-lite eval`."""
    from t5x_lite.commands import eval

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


def with_own_config(arguments: list[str]) -> list[str]:
    """Returns the arguments of `eval` with the run directory's own config, unless another one is among them."""
    finder = argparse.ArgumentParser("t5x-lite eval", add_help=False, allow_abbrev=False)
    finder.add_argument("--checkpoint")
    found, rest = finder.parse_known_args(arguments[1:])
    if found.checkpoint is None:
        return arguments
    own = pathlib.Path(found.checkpoint) / "config.yaml"
    has_config = any(argument.partition("=")[0] == "--config" for argument in rest)
    config = ["--config", str(own)] if own.is_file() and not has_config else []
    # The directory comes last: a config has a `checkpoint` too.
    return ["eval", "--run_dir", found.checkpoint, *config, *rest, "--checkpoint", found.checkpoint]


def data(options: Namespace) -> None:
    """`t5x-lite data inspect|prepare|stats`."""
    action, options = options.action, options[options.action]
    if action == "prepare":
        from t5x_lite.commands import data_prepare

        data_prepare.run(options.task, _instance(PrepareConfig, options))
    elif action == "stats":
        from t5x_lite.commands import data_stats

        data_stats.run(_instance(RunConfig, options), as_json=options.json, output=options.output)
    else:
        from t5x_lite.commands import data_inspect

        data_inspect.run(
            _instance(RunConfig, options), num_examples=options.num_examples, start=options.start, as_json=options.json
        )


def tokenizer(options: Namespace) -> None:
    """`t5x-lite tokenizer train`."""
    from t5x_lite.commands import tokenizer_train

    options = options[options.make]
    options.input = tuple(options.input)
    tokenizer_train.run(_instance(TokenizerTrainConfig, options))


def convert(options: Namespace) -> None:
    """`t5x-lite convert`."""
    from t5x_lite.commands import convert

    convert.run(
        options.source, options.destination, format=options.format, dtype=options.dtype, tokenizer=options.tokenizer
    )


def compile_ahead(options: Namespace) -> None:
    """`t5x-lite compile`."""
    from t5x_lite.commands import compile

    compile.run(_instance(RunConfig, options), _instance(CompileConfig, options), as_json=options.json)


def models(options: Namespace) -> None:
    """`t5x-lite models`."""
    from t5x_lite.commands import models

    models.run(
        options.names,
        as_json=options.json,
        inputs_length=options.inputs_length,
        targets_length=options.targets_length,
    )


def _instance(config: type[Config], options: Namespace) -> Config:
    return config(**{field.name: options[field.name] for field in dataclasses.fields(config)})


COMMANDS = {
    "train": train,
    "eval": evaluate,
    "infer": infer,
    "serve": serve,
    "attention": attention,
    "data": data,
    "tokenizer": tokenizer,
    "compile": compile_ahead,
    "models": models,
    "convert": convert,
}
