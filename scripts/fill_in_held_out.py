# SPDX-License-Identifier: Apache-2.0
"""Fills blanks in held-out sentences with a run's model; prints a few examples and the share of exact matches.

python scripts/fill_in_held_out.py --run_dir runs/quickstart [--num_blanks 200] [--num_sentences 6]
"""

import argparse
import collections
import pathlib
import re
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import t5x_lite
from t5x_lite.checkpoints.load import trained_length
from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.open import open_corpora
from t5x_lite.data.task_specs import TaskSpecs

MIN_WORDS, MAX_WORDS = 6, 30
NUM_TOKENS = 200_000  # of held-out text to search for sentences
BLANK = "<extra_id_0>"
WORD = re.compile(r"[A-Za-z]+")


class Blank(NamedTuple):
    """A sentence with one word hidden."""

    text: str
    word: str


def main() -> None:
    """Prints the score and the examples."""
    parser = argparse.ArgumentParser(description="Fills blanks in held-out sentences.")
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--num_blanks", type=int, default=200, help="one-word blanks to score")
    parser.add_argument("--num_sentences", type=int, default=6, help="examples to print")
    options = parser.parse_args()
    pretrained = t5x_lite.load(options.run_dir)
    run_dir = pathlib.Path(options.run_dir)
    held_out = open_corpora(TaskSpecs(TaskConfig()), run_dir / "corpus", run_dir)[""].eval.tokens
    (tokens,) = held_out.read(np.array([0]), np.array([min(len(held_out), NUM_TOKENS)]))
    sentences = held_out_sentences(pretrained.tokenizer.decode(tokens.tolist()))
    longest = trained_length(options.run_dir) or max(map(len, sentences))
    fitting = [sentence for sentence in sentences if len(pretrained.tokenizer.encode(sentence)) < longest]
    blanks = make_blanks(fitting or sentences, options.num_blanks)
    predictions = t5x_lite.generate(pretrained, [blank.text for blank in blanks], batch_size=40, max_new_tokens=16)
    answers = [first_span(prediction) for prediction in predictions]
    print_examples(blanks, answers, options.num_sentences, title=f"Blanks filled at step {pretrained.step}")
    num_right = sum(answer == blank.word for blank, answer in zip(blanks, answers, strict=True))
    word, count = collections.Counter(blank.word for blank in blanks).most_common(1)[0]
    print(
        f"Exact matches over {len(blanks)} held-out one-word blanks: {num_right} ({num_right / len(blanks):.0%}). "
        f"The best constant answer, {word!r}, scores {count} ({count / len(blanks):.0%})."
    )


def held_out_sentences(text: str) -> list[str]:
    """Returns the distinct sentences that have plain words only and are neither too short nor too long."""
    sentences = (sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+", text))
    plain = re.compile(r"[A-Z][A-Za-z ,'-]+[.!?]")
    chosen = (
        sentence
        for sentence in sentences
        if plain.fullmatch(sentence) and MIN_WORDS <= len(sentence.split()) <= MAX_WORDS
    )
    return list(dict.fromkeys(chosen))


def make_blanks(sentences: list[str], count: int) -> list[Blank]:
    """Returns `count` sentences, evenly spread, each with one random inner word hidden."""
    rng = np.random.default_rng(0)
    blanks = []
    for i in np.linspace(0, len(sentences) - 1, min(count, len(sentences))).astype(int):
        words = sentences[i].split()
        places = [place for place in range(1, len(words) - 1) if WORD.fullmatch(words[place])]
        if places:
            place = int(rng.choice(places))
            blanks.append(Blank(" ".join([*words[:place], BLANK, *words[place + 1 :]]), words[place]))
    return blanks


def first_span(prediction: str) -> str:
    """Returns the text that a prediction puts into the first blank."""
    spans = re.split(r"<extra_id_\d+>", prediction)
    return spans[1].strip() if len(spans) > 1 else ""


def print_examples(blanks: list[Blank], answers: list[str], count: int, *, title: str) -> None:
    """Prints some of the blanks in a table."""
    table = Table("held-out sentence", "filled in", "truth", title=title, show_lines=True)
    for i in range(0, len(blanks), max(1, len(blanks) // max(count, 1)))[:count]:
        table.add_row(blanks[i].text.replace(BLANK, "____"), answers[i], blanks[i].word)
    Console(markup=False).print(table)


if __name__ == "__main__":
    main()
