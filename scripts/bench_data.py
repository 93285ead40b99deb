# SPDX-License-Identifier: Apache-2.0
"""Measures examples and tokens per CPU-second delivered to training; prints one JSON object per case.

    python scripts/bench_data.py [--source books.jsonl.gz --tokenizer spiece.model --megabytes 12] \\
        [--pairs train.csv 'summarize: {dialogue}' '{section_text}' 1024 384]

`on_the_fly`: one epoch of batches from raw text: reading, tokenising and span corruption (512 + 114 tokens).
`prepared`: the same batches from the shards of `t5x-lite data prepare`, including opening and checking them.
`packed_pairs`: pairs packed by best_fit from their shards, including planning, for each --pairs SOURCE INPUTS TARGETS
INPUTS_LENGTH TARGETS_LENGTH; by default, docstrings and their first lines.
`encode_alone`: SentencePiece alone on the text of `on_the_fly`, for comparison.

Tokens exclude padding; `padding_share` is the share of padding in the batches. Each case runs in its own process;
CPU-seconds count all threads and exclude imports and the training of a vocabulary.
"""

import argparse
import itertools
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import sentencepiece

from t5x_lite.config import DataConfig, RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.data.corpus.prepare import prepare_corpora, prepare_text
from t5x_lite.data.dataset import make_examples
from t5x_lite.data.examples import unpacked
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.sources import open_source
from t5x_lite.data.tokenizers.train import train_sentencepiece_model
from t5x_lite.training.resolve import resolve_run

BATCH_SIZE = 128


def main() -> None:
    """Runs all cases and prints their results."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        path, size = write_text(options, scratch)
        vocabulary = options.tokenizer or str(scratch / "trained.model")
        if not options.tokenizer:
            texts = (json.loads(line)["text"] for line in path.read_text().splitlines())
            pathlib.Path(vocabulary).write_bytes(train_sentencepiece_model(texts, vocab_size=8_192))
        tokenizer = TokenizerConfig(path=vocabulary)
        text = RunConfig(
            run_dir="unused",
            task=TaskConfig(source=str(path), tokenizer=tokenizer),
            train=TrainConfig(batch_size=BATCH_SIZE),
        )
        in_a_process(encode_alone, path, vocabulary)
        in_a_process(report, "on_the_fly", {"megabytes": size / 1e6}, text, scratch / "on_the_fly")
        in_a_process(report, "prepared", {"megabytes": size / 1e6}, *prepared(text, scratch / "text"))
        pairs = options.pairs or [[str(write_pairs(path, scratch)), "{body}", "{first}", "512", "64"]]
        for number, (source, inputs, targets, *lengths) in enumerate(pairs):
            cfg = RunConfig(
                run_dir="unused",
                task=TaskConfig(source=source, inputs=inputs, targets=targets, tokenizer=tokenizer),
                data=DataConfig(packing="best_fit"),
                train=TrainConfig(batch_size=BATCH_SIZE, inputs_length=int(lengths[0]), targets_length=int(lengths[1])),
            )
            about = {"source": pathlib.Path(source).name, "lengths": [int(length) for length in lengths]}
            in_a_process(report, "packed_pairs", about, *prepared(cfg, scratch / f"pairs{number}"))


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description="Measures examples and tokens per CPU-second delivered to training.")
    parser.add_argument("--source", default="docstrings", help="in the form of task.source; its field text is read")
    parser.add_argument("--tokenizer", help="SentencePiece .model file; by default, trains a vocabulary of 8,192 ids")
    parser.add_argument("--megabytes", type=float, default=12.0, help="maximum amount of text")
    names = ("SOURCE", "INPUTS", "TARGETS", "INPUTS_LENGTH", "TARGETS_LENGTH")
    parser.add_argument("--pairs", nargs=5, action="append", metavar=names, help="a supervised task; may be repeated")
    return parser.parse_args()


def write_text(options: argparse.Namespace, scratch: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Writes the first documents of the source as JSON lines; returns the file and its bytes of text."""
    task = TaskConfig(source=options.source)
    source, _ = open_source(task, options.source, scratch / "cache")
    size, lines = 0, []
    for row in read_rows(task, source, range(len(source)), LeftOut()):
        size += len(row.texts[0].encode())
        if lines and size > options.megabytes * 1e6:
            size -= len(row.texts[0].encode())
            break
        lines.append(json.dumps({"text": row.texts[0]}))
    (scratch / "text.jsonl").write_text("\n".join(lines))
    return scratch / "text.jsonl", size


def write_pairs(path: pathlib.Path, scratch: pathlib.Path) -> pathlib.Path:
    """Writes pairs of each document's first line and its rest; returns the file."""
    parts = (json.loads(line)["text"].partition("\n") for line in path.read_text().splitlines())
    lines = (json.dumps({"first": first, "body": body}) for first, _, body in parts if first.strip() and body.strip())
    (scratch / "pairs.jsonl").write_text("\n".join(lines))
    return scratch / "pairs.jsonl"


def prepared(cfg: RunConfig, scratch: pathlib.Path) -> tuple[RunConfig, pathlib.Path]:
    """Prepares the shards of a task; returns a run that reads them, and its directory."""
    prepare_text(resolve_run(cfg).tasks, scratch / "shards")
    task = TaskConfig(prepared=str(scratch / "shards"))
    run = RunConfig(run_dir="unused", task=task, data=cfg.data, train=cfg.train)
    return run, scratch / "run"


def in_a_process(function: Callable[..., object], *arguments: object) -> None:
    """Calls a function in a fresh process, with cold caches."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()


def encode_alone(path: pathlib.Path, vocabulary: str) -> None:
    """Times SentencePiece's `encode` on all texts at once and prints the result."""
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    processor = sentencepiece.SentencePieceProcessor(model_file=vocabulary)
    begin, begin_wall = time.process_time(), time.perf_counter()
    ids = processor.encode(texts, num_threads=os.cpu_count() or 1)
    seconds = time.process_time() - begin
    tokens = sum(map(len, ids))
    figures = {"cpu_seconds": seconds, "wall_seconds": time.perf_counter() - begin_wall}
    figures["tokens_per_cpu_s"] = tokens / seconds
    print(json.dumps({"case": "encode_alone", "cores": os.cpu_count(), "tokens": tokens} | figures), flush=True)


def report(case: str, about: dict, cfg: RunConfig, run_dir: pathlib.Path) -> None:
    """Times one epoch of batches from disk and prints the result."""
    run_dir.mkdir(parents=True, exist_ok=True)
    begin, begin_wall = time.process_time(), time.perf_counter()
    run = resolve_run(cfg)
    train, _, tasks, _ = make_examples(run.examples, prepare_corpora(run.tasks, run_dir))
    opened = time.process_time()
    num_batches = max(1, len(train) // BATCH_SIZE)
    batches = train_batches(train, batch_size=BATCH_SIZE, data=cfg.data)
    places = filled = 0
    for batch in itertools.islice(batches, num_batches):
        for name in ("encoder_input_tokens", "decoder_target_tokens"):
            places += batch[name].size
            filled += int((batch[name] != 0).sum())
    batches.close()
    seconds = time.process_time() - begin
    examples = num_batches * BATCH_SIZE * len(unpacked(tasks[""])) / len(train)
    figures = {
        "cores": os.cpu_count(),
        "examples": round(examples),
        "cpu_seconds": seconds,
        "wall_seconds": time.perf_counter() - begin_wall,
        "cpu_seconds_until_open": opened - begin,  # on the fly: reading and tokenising
        "examples_per_cpu_s": examples / seconds,
        "tokens_per_cpu_s": filled / seconds,
        "padding_share": 1 - filled / places,
    }
    print(json.dumps({"case": case} | about | figures), flush=True)


if __name__ == "__main__":
    main()
