# SPDX-License-Identifier: Apache-2.0
"""Reads what is typed, a text or a command at a time, and answers it."""

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
from t5x_lite.config import GenerationConfig, InferConfig
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

HOW_TO_LEAVE = "Ctrl-D or /quit leaves, /help lists what else there is."


def run(options: InferConfig, settings: Mapping[str, Any] | None = None) -> None:
    """Answers what is typed until Ctrl-D or /quit; each line of a pipe, until it ends.

    Args:
      options: the model, and what its prompts are made of.
      settings: fields of `GenerationConfig`, in place of the model's own and the defaults.

    Raises:
      ValueError: if the checkpoint or the examples cannot be read, or the settings do not suit the model.
    """
    # What is wrong with the settings is said before a model is read for minutes.
    config = dataclasses.replace(generation_config(options.checkpoint), **(settings or {}))
    shots = read_shots(options, seed=config.seed)
    pretrained = load(options.checkpoint)
    print(_description(options.checkpoint, pretrained), file=sys.stderr, flush=True)
    prompts = Prompts(options, shots, pretrained=pretrained, seed=config.seed)
    terminal = Terminal(commands.completions)
    Session(for_decoding(pretrained), prompts, config=config, terminal=terminal).run()


class Session:
    """A conversation without memory: each text is answered by itself.

    Args:
      pretrained: what answers.
      prompts: what it reads.
      config: how it decodes at first.
      terminal: where lines come from and answers go.

    Raises:
      ValueError: if the settings do not suit the model.
    """

    def __init__(self, pretrained: Pretrained, prompts: Prompts, *, config: GenerationConfig, terminal: Terminal):
        self._pretrained, self._prompts, self._terminal = pretrained, prompts, terminal
        self._decodes = pretrained.architecture.traits.decodes
        self._begun_with = config
        self._last: str | None = None  # the text asked last
        self._start_with(config)

    def run(self) -> None:
        """Reads and answers until the end of what there is to read, or /quit."""
        if self._terminal.is_typed:
            self._terminal.tell(HOW_TO_LEAVE)
        try:
            goes_on = True
            while goes_on:
                try:
                    line = self._terminal.read()
                except EOFError:
                    return
                except KeyboardInterrupt:
                    if not self._terminal.is_typed:
                        raise
                    self._terminal.tell(f"\n{HOW_TO_LEAVE}")
                else:
                    goes_on = self._do_safely(line)
        finally:
            self._terminal.close()

    def _do_safely(self, line: str) -> bool:
        """Does what a line asks for; what goes wrong, or is interrupted, ends that alone. Returns whether to go on."""
        try:
            return self._do(line)
        except KeyboardInterrupt:
            if not self._terminal.is_typed:
                raise
            self._terminal.tell("\nstopped")
        except BrokenPipeError:  # nobody reads the answers
            raise
        except (ValueError, OSError) as error:
            self._terminal.tell(str(error))
        except (jax.errors.JaxRuntimeError, MemoryError) as error:  # too little of it for max_new_tokens, say
            self._terminal.tell(f"the model could not answer: {(str(error) or 'too little memory').splitlines()[0]}")
        return True

    def _do(self, line: str) -> bool:
        asked = commands.parsed(line)
        if isinstance(asked, Command):
            return self._obey(asked)
        if asked.strip() or not self._terminal.is_typed:
            self._last = asked
            for inputs in self._prompts.inputs_of(asked):
                self._answer(inputs)
        return True

    def _obey(self, command: Command) -> bool:
        """Does what a command says; returns whether to go on."""
        name, argument = command
        if name in commands.FIELDS:
            self._set(name, argument)
        elif name == "settings":
            different = commands.differences(self._config, self._pretrained.generation)
            self._show("\n".join(different) or "all settings are the model's own")
        elif name == "reset":
            self._start_with(self._begun_with)
            self._terminal.note("as in the beginning")
        elif name == "shots":
            self._draw(argument)
        elif name == "examples":
            self._change_examples(argument)
        elif name == "template":
            self._change_template(argument)
        elif name == "prompt":
            self._show_prompt()
        elif name == "help":
            self._show("\n".join(commands.help_lines()))
        return name != "quit"

    def _start_with(self, config: GenerationConfig) -> None:
        self._check(config)
        self._config, self._stream = config, 0

    def _check(self, config: GenerationConfig) -> None:
        """Raises ValueError if settings do not suit the model."""
        if self._decodes:
            params_and_spec(self._pretrained, [Request("", config)], 1)

    def _set(self, name: str, value: str) -> None:
        if not value:
            return self._show(commands.shown(self._config, name))
        config = commands.changed(self._config, name, value)
        self._check(config)
        self._config = config
        if name == "seed":
            self._stream = 0  # what was drawn with it before is drawn again
        return self._terminal.note(commands.shown(config, name))

    def _draw(self, argument: str) -> None:
        if argument:
            if not argument.lstrip("-").isdecimal():
                raise ValueError(f"shots is {argument!r}: use a whole number, 0 for none")
            self._prompts.draw(int(argument))
            self._terminal.note(f"{len(self._prompts.shots)} examples before each text; /shots shows them")
        else:
            shown = [f"{inputs} -> {targets}" for inputs, targets in self._prompts.shots]
            self._show("\n".join(shown) or "there are no examples before a text")

    def _change_examples(self, argument: str) -> None:
        if argument:
            self._prompts.use_examples(os.path.expanduser(argument))
            self._terminal.note(f"examples come from {argument}; /shots K draws K of them")
        else:
            self._show(f"examples {self._prompts.examples}")

    def _change_template(self, argument: str) -> None:
        if argument:
            self._prompts.use_template(argument)
        else:
            self._show(f"template {self._prompts.options.template}")

    def _show_prompt(self) -> None:
        if self._last is None:
            raise ValueError("/prompt shows what the model reads for the last text, and there was none: type one")
        for inputs in self._prompts.inputs_of(self._last):
            self._show(self._prompts.prompt_of(inputs))

    def _show(self, text: str) -> None:
        self._terminal.write(f"{text}\n")

    def _answer(self, inputs: str) -> None:
        request = Request(self._prompts.prompt_of(inputs), self._config, self._stream)
        self._stream += 1
        if self._decodes and self._config.num_beams == self._config.num_return_sequences == 1:
            text = self._answer_as_it_comes(request)
        else:
            text = self._answer_whole(request)
        filled = fill_in(inputs, text)
        if self._pretrained.architecture.traits.fills_spans and filled != inputs:
            self._terminal.note(f"filled in: {filled}")

    def _answer_as_it_comes(self, request: Request) -> str:
        """Writes tokens as they are decoded; returns the text."""
        growing, text = Growing(self._terminal.write), ""
        begun = time.perf_counter()
        first, num_tokens = begun, 0
        for text in stream_answer(self._pretrained, request):
            num_tokens += 1
            if num_tokens == 1:
                first = time.perf_counter()  # a program may have been compiled before it
            growing.show(text)
        growing.end(text)
        ended = time.perf_counter()
        self._terminal.write("\n")
        rate = f", then {(num_tokens - 1) / (ended - first):.1f} tokens/s" if num_tokens > 1 else ""
        self._terminal.note(f"{_counted(num_tokens, 'token')}, the first after {first - begun:.2f} s{rate}")
        return text

    def _answer_whole(self, request: Request) -> str:
        """Writes all sequences, or labels, when they are there; returns the best text."""
        begun = time.perf_counter()
        (answer,) = answer_batch(self._pretrained, [request], batch_size=1, scores=self._config.temperature > 0)
        seconds = time.perf_counter() - begun
        self._show("\n".join(_lines_of(answer)))
        if self._decodes:
            num_tokens = sum(len(decoded.tokens) + decoded.ended for decoded in answer.sequences)
            number = _counted(len(answer.sequences), "sequence")
            self._terminal.note(f"{number}, {_counted(num_tokens, 'token')}, {seconds:.2f} s")
        else:
            self._terminal.note(f"{seconds:.2f} s")
        return answer.sequences[0].text


def _lines_of(answer: Answer) -> list[str]:
    """Returns the lines of a whole answer: its text, labels by probability, or numbered sequences with their scores."""
    if answer.probabilities:
        by_probability = sorted(answer.probabilities.items(), key=lambda item: -item[1])
        return [f"{probability:.4f}  {label}" for label, probability in by_probability]
    if len(answer.sequences) == 1:
        return [answer.sequences[0].text]
    return [
        f"{number}. {decoded.score:.4f}  {decoded.text}" for number, decoded in enumerate(answer.sequences, start=1)
    ]


def _description(checkpoint: str, pretrained: Pretrained) -> str:
    """Returns a line that says what was loaded."""
    name = os.path.basename(os.path.abspath(checkpoint))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(pretrained.model))
    return f"{name}: step {pretrained.step}, {pretrained.architecture.name}, {num_parameters:,} parameters"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
