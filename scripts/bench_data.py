# SPDX-License-Identifier: Apache-2.0
"""Counts the examples and tokens a CPU-second that reach training, and prints one JSON object.

    python scripts/bench_data.py [--source books.jsonl.gz --tokenizer spiece.model --megabytes 12]

Case `on_the_fly`: text is read, tokenised and corrupted (T5's 512 + 114 tokens) for one epoch of batches, from nothing.
CPU-seconds are those of this process with all its threads; a vocabulary trained for want of one is not counted.
"""

import argparse
import itertools
import json
import os
import pathlib
import tempfile
import time

from t5x_lite.config import DataConfig, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.data.corpus import prepare_corpus
from t5x_lite.data.examples import make_examples
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.sources import read_documents
from t5x_lite.data.tokenizer import train_sentencepiece

BATCH_SIZE = 128


def main() -> None:
    """Prints the result."""
    parser = argparse.ArgumentParser(description="Counts the examples and tokens a CPU-second that reach training.")
    parser.add_argument("--source", default="docstrings", help="as task.source; read for its field text")
    parser.add_argument("--tokenizer", help="a SentencePiece .model file; without one, 8,192 ids are trained")
    parser.add_argument("--megabytes", type=float, default=12.0, help="of text, at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path, size = write_text(options, pathlib.Path(scratch))
        tokenizer = pathlib.Path(options.tokenizer or pathlib.Path(scratch) / "trained.model")
        if not options.tokenizer:
            texts = (json.loads(line)["text"] for line in path.read_text().splitlines())
            train_sentencepiece(texts, vocab_size=8_192, path=tokenizer)
        print(json.dumps({"case": "on_the_fly", "megabytes": size / 1e6} | on_the_fly(path, tokenizer)))


def write_text(options: argparse.Namespace, scratch: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Writes the first documents of the source as JSON lines; returns the file and how many bytes of text it has."""
    documents = read_documents(TaskConfig(source=options.source), options.source, scratch / "cache")
    size, lines = 0, []
    for (text,) in documents.rows:
        size += len(text.encode())
        if lines and size > options.megabytes * 1e6:
            size -= len(text.encode())
            break
        lines.append(json.dumps({"text": text}))
    (scratch / "text.jsonl").write_text("\n".join(lines))
    return scratch / "text.jsonl", size


def on_the_fly(path: pathlib.Path, tokenizer: pathlib.Path) -> dict[str, float | int | None]:
    """Times one epoch from text to batches."""
    cfg = RunConfig(
        run_dir="unused",
        task=TaskConfig(source=str(path), tokenizer=TokenizerConfig(path=str(tokenizer))),
        train=TrainConfig(batch_size=BATCH_SIZE),
    )
    begin, begin_wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        corpus = prepare_corpus(cfg.task, pathlib.Path(directory))
        tokenized = time.process_time()
        examples, _ = make_examples(cfg, corpus)
        num_batches = len(examples) // BATCH_SIZE
        batches = train_batches(examples, batch_size=BATCH_SIZE, data=DataConfig())
        places = filled = 0
        for batch in itertools.islice(batches, num_batches):
            places += sum(ids.size for ids in batch.values())
            filled += sum(int((ids != 0).sum()) for ids in batch.values())
        batches.close()
    seconds = time.process_time() - begin
    return {
        "cores": os.cpu_count(),
        "examples": num_batches * BATCH_SIZE,
        "cpu_seconds": seconds,
        "wall_seconds": time.perf_counter() - begin_wall,
        "reading_and_tokenising_cpu_seconds": tokenized - begin,
        "examples_per_cpu_s": num_batches * BATCH_SIZE / seconds,
        "tokens_per_cpu_s": filled / seconds,
        "padding_share": 1 - filled / places,
    }


if __name__ == "__main__":
    main()
