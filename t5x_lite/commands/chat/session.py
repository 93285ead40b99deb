# SPDX-License-Identifier: Apache-2.0
"""The interactive session, which answers texts and runs commands."""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax

from t5x_lite.checkpoints.load import Pretrained, generation_config, load
from t5x_lite.commands.chat import commands
from t5x_lite.commands.chat.commands import Command
from t5x_lite.commands.chat.prompts import Prompts
from t5x_lite.commands.chat.terminal import Growing, Terminal
from t5x_lite.config.commands import InferConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.engine import (
    Answer,
    Request,
    answer_batch,
    fill_in,
    for_decoding,
    params_and_spec,
    stream_answer,
)
from t5x_lite.inference.few_shot import read_shots
from t5x_lite.parallel import interrupts

HOW_TO_LEAVE = "Type /help for the commands, /quit or Ctrl-D to leave."


def run(options: InferConfig, settings: Mapping[str, Any] | None = None) -> None:
    """Runs a session until Ctrl-D or /quit, or answers each line of a pipe.

    `settings` are fields of `GenerationConfig` that override the model's own.
    """
    # Check the settings before loading the model, which may take minutes.
    config = dataclasses.replace(generation_config(options.checkpoint), **(settings or {}))
    shots = read_shots(options, seed=config.seed)
    pretrained = load(options.checkpoint, step=options.step)
    pretrained.architecture.check_predicts()
    name = os.path.basename(os.path.abspath(options.checkpoint))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(pretrained.model))
    model = f"{name}: step {pretrained.step}, {pretrained.architecture.name}, {num_parameters:,} parameters"
    print(model, file=sys.stderr, flush=True)
    prompts = Prompts(options, shots, pretrained=pretrained, seed=config.seed)
    terminal = Terminal(commands.completions)
    Session(for_decoding(pretrained), prompts, config=config, terminal=terminal).run()


class Session:
    """A stateless session: each text is answered independently."""

    def __init__(self, pretrained: Pretrained, prompts: Prompts, *, config: GenerationConfig, terminal: Terminal):
        self._pretrained, self._prompts, self._terminal = pretrained, prompts, terminal
        self._traits = pretrained.architecture.traits
        self._initial_config = config
        self._last_text: str | None = None
        self._reset()

    def run(self) -> None:
        """Reads and answers lines until the end of the input or /quit."""
        if self._terminal.is_typed:
            self._terminal.error(HOW_TO_LEAVE)
        with contextlib.closing(self._terminal):
            while True:
                try:
                    line = self._terminal.read()
                except EOFError:
                    return
                except KeyboardInterrupt:
                    if not self._terminal.is_typed:
                        raise
                    interrupts.forget()
                    self._terminal.error(f"\n{HOW_TO_LEAVE}")
                    continue
                if line.rstrip() == "/quit":
                    return
                self._handle(line)

    def _handle(self, line: str) -> None:
        """Answers a text or runs a command; an error or Ctrl-C does not end the session."""
        try:
            parsed = commands.parse_line(line)
            if isinstance(parsed, Command):
                self._run_command(*parsed)
            elif parsed.strip() or not self._terminal.is_typed:
                self._last_text = parsed
                for inputs in self._prompts.inputs_of(parsed):
                    self._answer(inputs)
        except KeyboardInterrupt:
            if not self._terminal.is_typed:
                raise
            interrupts.forget()
            self._terminal.error("\nstopped")
        except BrokenPipeError:  # the reader of the pipe has exited
            raise
        except (ValueError, OSError) as error:
            self._terminal.error(str(error))
        except (jax.errors.JaxRuntimeError, MemoryError) as error:  # such as running out of memory
            self._terminal.error(f"the model failed: {(str(error) or 'out of memory').splitlines()[0]}")

    def _run_command(self, name: str, argument: str) -> None:
        prompts = self._prompts
        match name:
            case "settings":
                different = commands.differences(self._config, self._pretrained.generation)
                self._show("\n".join(different) or "all settings are the model's defaults")
            case "reset":
                self._reset()
                self._terminal.note("settings restored")
            case "shots" if argument:
                if not argument.lstrip("-").isdecimal():
                    raise ValueError(f"shots is {argument!r}: use a whole number, 0 for none")
                prompts.draw(int(argument))
                self._terminal.note(f"{len(prompts.shots)} examples before each text; /shots shows them")
            case "shots":
                self._show("\n".join(f"{inputs} -> {targets}" for inputs, targets in prompts.shots) or "no examples")
            case "examples" if argument:
                prompts.use_examples(argument)
                self._terminal.note(f"examples come from {argument}; /shots K draws K of them")
            case "examples":
                self._show(f"examples {prompts.examples}")
            case "template" if argument:
                prompts.use_template(argument)
            case "template":
                self._show(f"template {prompts.options.template}")
            case "prompt":
                if self._last_text is None:
                    raise ValueError("/prompt shows the prompt made from the last text: type a text first")
                for inputs in prompts.inputs_of(self._last_text):
                    self._show(prompts.prompt_of(inputs))
            case "help":
                self._show("\n".join(commands.help_lines()))
            case setting if argument:
                config = commands.with_setting(self._config, setting, argument)
                self._check(config)
                self._config = config
                if setting == "seed":
                    self._stream = 0  # restarts the random streams
                self._terminal.note(commands.format_setting(config, setting))
            case setting:
                self._show(commands.format_setting(self._config, setting))

    def _reset(self) -> None:
        self._check(self._initial_config)
        self._config, self._stream = self._initial_config, 0

    def _check(self, config: GenerationConfig) -> None:
        """Raises ValueError if the settings do not suit the model."""
        if self._traits.decodes:
            params_and_spec(self._pretrained, [Request("", config)], 1)

    def _show(self, text: str) -> None:
        self._terminal.write(f"{text}\n")

    def _answer(self, inputs: str) -> None:
        request = Request(self._prompts.prompt_of(inputs), self._config, self._stream)
        self._stream += 1
        if self._traits.decodes and self._config.num_beams == self._config.num_return_sequences == 1:
            text = self._stream_text(request)
        else:
            text = self._write_all(request)
        filled = fill_in(inputs, text)
        if self._traits.fills_spans and filled != inputs:
            self._terminal.note(f"filled in: {filled}")

    def _stream_text(self, request: Request) -> str:
        """Writes text as it is decoded, and returns it."""
        growing, start = Growing(self._terminal.write), time.perf_counter()
        first, num_tokens, text = start, 0, ""
        for num_tokens, text in enumerate(stream_answer(self._pretrained, request), start=1):
            if num_tokens == 1:
                first = time.perf_counter()  # excludes compilation from the rate
            growing.show(text)
        growing.end(text)
        end = time.perf_counter()
        self._terminal.write("\n")
        rate = f", then {(num_tokens - 1) / (end - first):.1f} tokens/s" if num_tokens > 1 else ""
        self._terminal.note(f"{_count(num_tokens, 'token')}, the first after {first - start:.2f} s{rate}")
        return text

    def _write_all(self, request: Request) -> str:
        """Writes all sequences or labels once they are complete; returns the best text."""
        start = time.perf_counter()
        (answer,) = answer_batch(self._pretrained, [request], batch_size=1, scores=self._config.temperature > 0)
        seconds = time.perf_counter() - start
        self._show("\n".join(_answer_lines(answer)))
        counts = ""
        if self._traits.decodes:
            num_tokens = sum(len(decoded.tokens) + decoded.ended for decoded in answer.sequences)
            counts = f"{_count(len(answer.sequences), 'sequence')}, {_count(num_tokens, 'token')}, "
        self._terminal.note(f"{counts}{seconds:.2f} s")
        return answer.sequences[0].text


def _answer_lines(answer: Answer) -> list[str]:
    """Returns the lines of a complete answer: a text, labels by probability, or numbered sequences with scores."""
    if answer.probabilities:
        by_probability = sorted(answer.probabilities.items(), key=lambda item: -item[1])
        return [f"{probability:.4f}  {label}" for label, probability in by_probability]
    if len(answer.sequences) == 1:
        return [answer.sequences[0].text]
    return [f"{rank}. {decoded.score:.4f}  {decoded.text}" for rank, decoded in enumerate(answer.sequences, start=1)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
