# SPDX-License-Identifier: Apache-2.0
"""Times `t5x_lite.encode` against sentence-transformers in the same run; prints one JSON object.

    python scripts/bench_encode.py --tokenizer spiece.model [--texts 500 --batch 32 --rounds 5]

Both open the same directory, a random encoder of T5 1.1 small's sizes with mean pooling and normalisation, and embed
the same texts of 1 to 512 tokens, most of them short, in float32. They run in separate processes and take turns, so
that other load on the machine affects both alike. `ratio` is our texts/s over theirs, each in its best round;
`ratio_median` compares medians; `difference` is the largest between two numbers of their vectors; `first_s` is our
first round, with the compilation. torch flushes denormal numbers, which otherwise slow it down. Without
sentence-transformers, only t5x_lite is timed.
"""

import argparse
import importlib.util
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_TOKENS = 512


def main() -> None:
    """Times both libraries and prints the result."""
    parser = argparse.ArgumentParser(description="Times t5x_lite.encode against sentence-transformers.")
    parser.add_argument("--tokenizer", required=True, help="SentencePiece model")
    for name, value in (("texts", 500), ("batch", 32), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    has_peer = importlib.util.find_spec("sentence_transformers") is not None
    with tempfile.TemporaryDirectory() as directory:
        texts = write_model(pathlib.Path(directory) / "model", options)
        arguments = (f"{directory}/model", texts, options.batch)
        workers = {name: start(WORKERS[name], *arguments) for name in (WORKERS if has_peer else ["ours"])}
        first = {name: ask(worker) for name, worker in workers.items()}  # with the compilation
        timed: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(options.rounds):
            for name, worker in workers.items():
                timed[name].append(ask(worker)[0])
    for worker in workers.values():
        worker.send(False)
    best = {name: min(seconds) for name, seconds in timed.items()}
    result: dict[str, Any] = {
        "model": "t5_1_1_small",
        **vars(options),
        "cores": os.cpu_count(),
        "first_s": first["ours"][0],
        "ours_texts_per_s": len(texts) / best["ours"],
        "peer": None,
        "ratio": None,
    }
    if has_peer:
        result |= {
            "peer": "sentence-transformers",
            "peer_texts_per_s": len(texts) / best["peer"],
            "ratio": best["peer"] / best["ours"],
            "ratio_median": statistics.median(timed["peer"]) / statistics.median(timed["ours"]),
            "difference": float(np.abs(first["ours"][1] - first["peer"][1]).max()),
        }
    print(json.dumps(result))


def write_model(directory: pathlib.Path, options: argparse.Namespace) -> list[str]:
    """Writes the model that both open; returns the texts, of random pieces."""
    import jax
    from flax import nnx

    from t5x_lite.checkpoints.hf.weights import save_model
    from t5x_lite.checkpoints.weights import LazyModel, reader
    from t5x_lite.config import TokenizerConfig
    from t5x_lite.config.architectures import ENCODER
    from t5x_lite.data.tokenizers import build_tokenizer
    from t5x_lite.model.encoder import Encoder
    from t5x_lite.model.presets import presets
    from t5x_lite.model.sentence_head import SentenceHead

    tokenizer = build_tokenizer(TokenizerConfig(kind="sentencepiece", path=options.tokenizer), ())
    cfg = presets["t5_1_1_small"]
    model = jax.jit(lambda: Encoder(cfg, rngs=nnx.Rngs(0)))()
    head = SentenceHead(max_tokens=MAX_TOKENS)
    lazy = LazyModel(cfg, ENCODER, tokenizer, 0, np.dtype(np.float32), reader(model), head=head)
    save_model(directory, lazy, tokenizer, dtype=lazy.dtype)
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(3.5, 1.0, options.texts), 1, MAX_TOKENS).astype(int)
    return [tokenizer.decode(random.integers(100, 30_000, length).tolist()) for length in lengths]


def start(make: Callable, *arguments: Any) -> multiprocessing.connection.Connection:
    """Starts a worker; returns the connection to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs, make, *arguments), daemon=True).start()
    return ours


def serve(connection: multiprocessing.connection.Connection, make: Callable, *arguments: Any) -> None:
    """Embeds the texts whenever asked to, and sends the seconds and the vectors."""
    embed = make(*arguments)
    while connection.recv():
        begin = time.perf_counter()
        vectors_NE = embed()
        connection.send((time.perf_counter() - begin, vectors_NE))


def ask(worker: multiprocessing.connection.Connection) -> tuple[float, np.ndarray]:
    """Returns a worker's seconds for one round, and its vectors."""
    worker.send(True)
    return worker.recv()


def ours(directory: str, texts: list[str], batch_size: int) -> Callable[[], np.ndarray]:
    """Returns a function that embeds the texts."""
    import t5x_lite

    model = t5x_lite.load(directory)
    return lambda: np.asarray(t5x_lite.encode(model, texts, batch_size=batch_size))


def theirs(directory: str, texts: list[str], batch_size: int) -> Callable[[], np.ndarray]:
    """Returns a function that embeds the texts with sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_flush_denormal(True)
    model = SentenceTransformer(directory, device="cpu")
    return lambda: model.encode(texts, batch_size=batch_size, show_progress_bar=False)


WORKERS = {"ours": ours, "peer": theirs}

if __name__ == "__main__":
    main()
