# SPDX-License-Identifier: Apache-2.0
"""Calls each command but `train`, which `cli` calls itself: a training run imports nothing of the others."""

import dataclasses
import os

from jsonargparse import Namespace

from t5x_lite.config import CheckpointConfig, RunConfig
from t5x_lite.config.paths import home_expanded
from t5x_lite.config.plain import pick
from t5x_lite.files.run_path import run_and_step
from t5x_lite.files.same_file import refuse_overwriting

# Options and arguments outside the config classes.
PATHS = ("checkpoint", "directory", "output", "source", "destination", "tokenizer", "trust")
ARGUMENTS = {"directory": "DIR", "source": "SOURCE", "destination": "DESTINATION"}


def call(command: str, options: Namespace) -> None:
    """Imports a command and calls it with its options."""
    if "action" in options:
        given, action = options.get("given"), options.action
        command, options = f"{command} {action}", options[action]
        options.given = given and given[action]
    _expand_paths(options)
    _split_checkpoint(options)
    _refuse_config_as_output(options)
    match command:
        case "eval":
            _evaluate(options)
        case "infer":
            _infer(options)
        case "embed":
            from t5x_lite.commands import embed
            from t5x_lite.config.commands import EmbedConfig

            embed.run(pick(EmbedConfig, options))
        case "serve":
            from t5x_lite.commands import serve
            from t5x_lite.config.commands import ServeConfig

            serve.run(pick(ServeConfig, options))
        case "attention":
            from t5x_lite.commands import attention
            from t5x_lite.config.commands import AttentionConfig

            attention.run(pick(AttentionConfig, options))
        case "compile":
            from t5x_lite.commands import compile
            from t5x_lite.config.commands import CompileConfig

            compile.run(pick(RunConfig, options), pick(CompileConfig, options), as_json=options.json)
        case "models":
            from t5x_lite.commands import models

            lengths = {name: options[name] for name in ("inputs_length", "targets_length")}
            models.run(options.names, as_json=options.json, **lengths)
        case "runs":
            from t5x_lite.commands import runs

            runs.run(options.directory, as_json=options.json)
        case "convert":
            from t5x_lite.commands import convert

            how = {name: options[name] for name in ("step", "format", "dtype", "tokenizer")}
            convert.run(options.source, options.destination, **how)
        case "tokenizer train":
            from t5x_lite.commands import tokenizer_train
            from t5x_lite.config.commands import TokenizerTrainConfig

            options.input = tuple(options.input)
            tokenizer_train.run(pick(TokenizerTrainConfig, options))
        case _:
            from t5x_lite.commands.options.asked_task import data_options

            with data_options(options, options.given):
                _call_data(command, options)


def _call_data(command: str, options: Namespace) -> None:
    match command:
        case "data inspect":
            from t5x_lite.commands import data_inspect

            how = {name: options[name] for name in ("num_examples", "start")}
            data_inspect.run(pick(RunConfig, options), as_json=options.json, **how)
        case "data prepare":
            from t5x_lite.commands import data_prepare
            from t5x_lite.config.commands import PrepareConfig

            data_prepare.run(options.task, pick(PrepareConfig, options))
        case "data stats":
            from t5x_lite.commands import data_stats

            draws = options.output is not None or options.given.get("run_dir") is not None
            how = {name: options[name] for name in ("output", "quantile")}
            data_stats.run(pick(RunConfig, options), as_json=options.json, draws=draws, **how)


def _infer(options: Namespace) -> None:
    from t5x_lite.config.commands import InferConfig
    from t5x_lite.config.generation import GenerationConfig

    chosen = pick(InferConfig, options)
    if chosen.interactive:
        from t5x_lite.commands.chat.session import run
    else:
        from t5x_lite.commands.infer import run
    # Only fields given on the command line, to keep the model's own settings for the others.
    fields = [field.name for field in dataclasses.fields(GenerationConfig)]
    run(chosen, {name: options[name] for name in fields if name in options.given})


def _evaluate(options: Namespace) -> None:
    from t5x_lite.commands import eval
    from t5x_lite.commands.options.asked_task import check_evaluated
    from t5x_lite.commands.options.eval import check_code

    if not isinstance(options.checkpoint, str):
        raise ValueError("--checkpoint is missing: name a run directory")
    check_evaluated(options.given)
    checkpoint, options.checkpoint = options.checkpoint, CheckpointConfig()
    check_code(options.task, checkpoint, options.trust, options.written)
    eval.run(
        pick(RunConfig, options),
        checkpoint,
        step=options.step,
        output=options.output,
        num_batches=None if options.num_batches == "all" else options.num_batches,
        print_json=options.json,
    )


def _expand_paths(options: Namespace) -> None:
    """Expands `~` in the options that are paths, in place; configs expand their own fields."""
    for name in PATHS:
        if isinstance(options.get(name), str):
            options[name] = home_expanded(options[name], ARGUMENTS.get(name, f"--{name}"))


def _split_checkpoint(options: Namespace) -> None:
    """Splits RUN/checkpoints/STEP into the run and the option `step`, in place, for the commands that have it."""
    name = "source" if "source" in options else "checkpoint"
    if "step" in options and isinstance(options.get(name), str):
        options[name], options["step"] = run_and_step(options[name], options["step"])


def _refuse_config_as_output(options: Namespace) -> None:
    """Raises ValueError if a command would write its output over a config that it read."""
    output, configs = options.get("output"), options.get("config")
    if isinstance(output, str) and configs:
        refuse_overwriting([output], map(os.fspath, configs), "--output")
