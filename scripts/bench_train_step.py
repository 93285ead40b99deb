# SPDX-License-Identifier: Apache-2.0
"""Times a T5 1.1 small training step against Hugging Face's in the same run; prints one JSON object.

    python scripts/bench_train_step.py [--batch 8 --inputs 512 --targets 114 --rounds 6]

All workers train in float32 with AdamW (fused in torch), gradients clipped to norm 1, and random ids. They run in
separate processes and take turns step by step, so that other load on the machine affects all alike.

torch runs twice: with its defaults, and after `torch.set_flush_denormal(True)`. XLA flushes denormals to zero; torch
does not by default, and its steps slow down over time. `ratio` is our tokens/s over torch's with its defaults, each
in its best step, and `ratio_median` compares medians; `ratio_flushed` and `ratio_flushed_median` compare with torch
that flushes denormals. Without torch and transformers only t5x_lite is timed.
"""

import argparse
import functools
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time


def main() -> None:
    """Times all workers and prints the result; with --worker, runs as one of them."""
    parser = argparse.ArgumentParser(description="Times a T5 1.1 small training step against Hugging Face's.")
    for name, value in (("batch", 8), ("inputs", 512), ("targets", 114), ("rounds", 6)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(WORKERS[options.worker](options))
        return
    has_peer = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    workers = {name: start(name) for name in (WORKERS if has_peer else ["ours"])}
    seconds = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            seconds[name].append(one_step(worker))
    for worker in workers.values():
        assert worker.stdin
        worker.stdin.close()
        worker.wait()
    print(json.dumps(summary(options, seconds)))


def summary(options: argparse.Namespace, seconds: dict[str, list[float]]) -> dict:
    """Returns the workers' times and their ratios."""
    tokens = options.batch * (options.inputs + options.targets)
    ours, theirs, flushed = (seconds.get(name, []) for name in WORKERS)
    result = {
        "model": "t5_1_1_small",
        "batch": options.batch,
        "inputs_length": options.inputs,
        "targets_length": options.targets,
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "ours_best_s": min(ours),
        "ours_median_s": statistics.median(ours),
        "ours_tokens_per_s": tokens / min(ours),
        "peer": None,
        "ratio": None,
    }
    if theirs:
        result |= {
            "peer": "transformers",
            "peer_best_s": min(theirs),
            "peer_median_s": statistics.median(theirs),
            "peer_tokens_per_s": tokens / min(theirs),
            "ratio": min(theirs) / min(ours),
            "ratio_median": statistics.median(theirs) / statistics.median(ours),
            "peer_flushed_best_s": min(flushed),
            "peer_flushed_median_s": statistics.median(flushed),
            "ratio_flushed": min(flushed) / min(ours),
            "ratio_flushed_median": statistics.median(flushed) / statistics.median(ours),
        }
    return result


def start(name: str) -> subprocess.Popen:
    """Starts a worker and waits for its compilation and first steps."""
    command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--worker", name]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    one_step(worker)
    return worker


def one_step(worker: subprocess.Popen) -> float:
    """Returns the duration of a worker's next step, in seconds."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("step\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("a benchmark worker exited: see its error above")
    return float(line)


def serve(step) -> None:
    """Takes one step per line of standard input and prints its duration."""
    step()
    for _ in sys.stdin:
        begin = time.perf_counter()
        step()
        print(time.perf_counter() - begin, flush=True)


def our_step(options: argparse.Namespace):
    """Returns a function that takes one step with t5x_lite and waits for it."""
    import jax
    import numpy as np

    from t5x_lite.config import OptimizerConfig, TrainConfig
    from t5x_lite.data.converters import encoder_decoder
    from t5x_lite.model.architectures import abstract
    from t5x_lite.model.presets import presets
    from t5x_lite.optim import make_optimizer
    from t5x_lite.parallel import xla_options
    from t5x_lite.parallel.mesh import parameter_axes
    from t5x_lite.training.step import init_state, train_step

    model = presets["t5_1_1_small"]
    axes = parameter_axes(abstract(model))
    optimizer = OptimizerConfig(name="adamw", learning_rate=1e-4, schedule="constant", warmup_steps=0, clip_norm=1.0)
    tx = make_optimizer(optimizer, 1_000, axes)
    init = functools.partial(init_state, model, tx, 0)
    platform = jax.default_backend()
    state = jax.jit(init, compiler_options=xla_options.for_init(platform))()
    update = functools.partial(train_step, tx=tx, cfg=TrainConfig(), seed=0)
    compiled = jax.jit(update, donate_argnums=0, compiler_options=xla_options.for_long_products(platform))
    rng = np.random.default_rng(0)
    rows = {
        "inputs": rng.integers(2, 32_000, (options.batch, options.inputs)).astype(np.int32),
        "targets": rng.integers(2, 32_000, (options.batch, options.targets)).astype(np.int32),
    }
    batch = encoder_decoder(rows)

    def step() -> None:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    return step


def transformers_step(options: argparse.Namespace, *, flush_denormal: bool = False):
    """Returns a function that takes one step with Hugging Face's model."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_flush_denormal(flush_denormal)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=32_128,
            d_model=512,
            d_kv=64,
            d_ff=1_024,
            num_layers=8,
            num_heads=6,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            dropout_rate=0.0,
            decoder_start_token_id=0,
        )
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    inputs = torch.randint(2, 32_000, (options.batch, options.inputs))
    targets = torch.randint(2, 32_000, (options.batch, options.targets))

    def step() -> None:
        model(input_ids=inputs, labels=targets).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


WORKERS = {
    "ours": our_step,
    "transformers": transformers_step,
    "transformers_flushed": functools.partial(transformers_step, flush_denormal=True),
}

if __name__ == "__main__":
    main()
