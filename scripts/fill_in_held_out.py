# SPDX-License-Identifier: Apache-2.0
"""Blanks out a few words of held-out sentences, has a run's model fill them in, and prints both beside the truth.

python scripts/fill_in_held_out.py --run_dir runs/quickstart [--num_sentences 5]
"""

import argparse
import pathlib
import re

import numpy as np
from rich.console import Console
from rich.table import Table

import t5x_lite
from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.open import open_corpora
from t5x_lite.inference.engine import SENTINEL

MIN_WORDS, MAX_WORDS = 12, 30
WORDS_PER_BLANK = 2
NUM_TOKENS = 40_000  # in which sentences are looked for


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Fills in blanks of held-out sentences.")
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--num_sentences", type=int, default=5)
    options = parser.parse_args()
    pretrained = t5x_lite.load(options.run_dir)
    run_dir = pathlib.Path(options.run_dir)
    held_out = open_corpora(TaskConfig(), run_dir / "corpus", run_dir)[""].eval.tokens
    (tokens,) = held_out.read(np.array([0]), np.array([min(len(held_out), NUM_TOKENS)]))
    sentences = held_out_sentences(pretrained.tokenizer.decode(tokens.tolist()))
    chosen = sentences[:: max(1, len(sentences) // options.num_sentences)][: options.num_sentences]
    blanked = [blank_out(sentence) for sentence in chosen]
    predictions = t5x_lite.generate(pretrained, [line for line, _ in blanked])
    table = Table(
        "held-out sentence", "filled in", "truth", title=f"Blanks filled in at step {pretrained.step}", show_lines=True
    )
    for (line, truths), prediction in zip(blanked, predictions, strict=True):
        spans = dict(zip(*[iter(SENTINEL.split(prediction)[1:])] * 2, strict=True))
        numbers = [str(number) for number in range(len(truths))]
        filled = "\n".join(f"{number}: {spans.get(number, '').strip()}" for number in numbers)
        table.add_row(line, filled, "\n".join(f"{number}: {truth}" for number, truth in enumerate(truths)))
    Console(markup=False).print(table)


def held_out_sentences(text: str) -> list[str]:
    """Returns the sentences of plain words, neither too short nor too long."""
    sentences = (sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+", text))
    plain = re.compile(r"[A-Z][A-Za-z ,'-]+[.!?]")
    return [
        sentence
        for sentence in sentences
        if plain.fullmatch(sentence) and MIN_WORDS <= len(sentence.split()) <= MAX_WORDS
    ]


def blank_out(sentence: str) -> tuple[str, list[str]]:
    """Returns the sentence with two blanks, at one and two thirds, and the words they hide."""
    words = sentence.split()
    starts = [len(words) // 3, 2 * len(words) // 3]
    truths = [" ".join(words[start : start + WORDS_PER_BLANK]) for start in starts]
    for number, start in reversed(list(enumerate(starts))):
        words[start : start + WORDS_PER_BLANK] = [f"<extra_id_{number}>"]
    return " ".join(words), truths


if __name__ == "__main__":
    main()
