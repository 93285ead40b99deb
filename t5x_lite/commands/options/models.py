# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that work with models, and not with the config of a run."""

from typing import Literal

from jsonargparse.typing import PositiveInt

from t5x_lite.commands.options.parser import Parser
from t5x_lite.commands.options.runs import add_fields, add_json, add_step


def add_infer(parser: Parser) -> None:
    """Adds the options of `infer`."""
    parser.add_argument("--interactive", action="store_true", help="answer lines typed in the terminal; see /help")
    add_fields(parser, "commands:InferConfig", skip={"interactive"})
    add_fields(parser, "generation:GenerationConfig")


def add_embed(parser: Parser) -> None:
    """Adds the options of `embed`."""
    add_fields(parser, "commands:EmbedConfig")


def add_serve(parser: Parser) -> None:
    """Adds the options of `serve`."""
    add_fields(parser, "commands:ServeConfig")


def add_convert(parser: Parser) -> None:
    """Adds the options of `convert`."""
    parser.add_argument(
        "source", metavar="SOURCE", help="run directory, Hugging Face or t5x_lite model directory, or T5X checkpoint"
    )
    parser.add_argument("destination", metavar="DESTINATION", help="new directory")
    add_step(parser)
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


def add_models(parser: Parser) -> None:
    """Adds the options of `models`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="presets to list; all by default")
    add_json(parser, "a table")
    for side, length in (("input", 512), ("target", 114)):
        about = f"number of {side} tokens to count FLOPs for"
        parser.add_argument(f"--{side}s_length", type=PositiveInt, default=length, metavar="N", help=about)


def add_attention(parser: Parser) -> None:
    """Adds the options of `attention`."""
    add_json(parser, "a table")
    add_fields(parser, "commands:AttentionConfig", skip={"json"})
