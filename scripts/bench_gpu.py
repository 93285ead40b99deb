# SPDX-License-Identifier: Apache-2.0
"""Times training steps of T5 1.1 small, base and large on one GPU in bfloat16, 512 input and 128 target tokens.

    python scripts/bench_gpu.py [--models t5_1_1_large --remat none minimal --rounds 10]
    python scripts/bench_gpu.py --dry_run      tiny models on any device, to test the script

For each model and `train.remat`, doubles the batch until it no longer fits, each size in its own process, and prints
one JSON object per size: sequences/s of the best and the median step, MFU (model FLOPs without recomputation over the
peak) and peak memory. The largest size also shows the figures that NVIDIA published for these lengths on its own
hardware; they are not measured here.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

MODELS = ("t5_1_1_small", "t5_1_1_base", "t5_1_1_large")
# Sequences/s per GPU, 512 input and 128 target tokens: NVIDIA's Rosetta T5X.
PUBLISHED = {
    "t5_1_1_small": {"sequences_per_s": 714, "hardware": "A100, bfloat16"},
    "t5_1_1_large": {"sequences_per_s": 174.1, "hardware": "H100, fp8"},
}
TINY = {"emb_dim": 32, "num_heads": 2, "head_dim": 8, "mlp_dim": 48, "num_encoder_layers": 1, "num_decoder_layers": 1}
LENGTHS, TINY_LENGTHS = (512, 128), (24, 8)
VOCAB_SIZE, TINY_VOCAB_SIZE = 32_128, 256
FIRST_BATCH, LAST_TINY_BATCH = 8, 16
OUT_OF_MEMORY = 3  # exit status of a worker


def main() -> None:
    """Times all models and prints the results; with --worker, times one batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--remat", nargs="+", default=["none", "minimal"], choices=("none", "minimal", "full"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--dry_run", action="store_true", help="tiny sizes, to check that the script runs")
    parser.add_argument("--worker", type=int, metavar="BATCH", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    for model in options.models:
        for remat in options.remat:
            for result in doubled(options, model, remat):
                print(json.dumps(result), flush=True)


def doubled(options: argparse.Namespace, model: str, remat: str) -> list[dict[str, Any]]:
    """Returns the results of each batch size, up to the largest that fits."""
    results, batch = [], FIRST_BATCH
    while not (options.dry_run and batch > LAST_TINY_BATCH):
        command = [sys.executable, os.path.abspath(__file__), "--models", model, "--remat", remat]
        command += ["--rounds", str(options.rounds), "--worker", str(batch)] + ["--dry_run"] * options.dry_run
        worker = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if worker.returncode == OUT_OF_MEMORY:
            break
        if worker.returncode:
            sys.exit(f"{model}, remat {remat}, batch {batch}: the worker failed, see its error above")
        results.append(json.loads(worker.stdout))
        batch *= 2
    if results and not options.dry_run:
        results[-1]["published"] = PUBLISHED.get(model)
    return results


def work(options: argparse.Namespace) -> None:
    """Times steps at one batch size and prints the result; exits with OUT_OF_MEMORY if it does not fit."""
    import jax

    try:
        print(json.dumps(timed(options)))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower():
            sys.exit(OUT_OF_MEMORY)
        raise


def timed(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the results of one model at one batch size on one device."""
    import jax
    import numpy as np

    from t5x_lite.data.shapes import feature_shapes
    from t5x_lite.parallel.mesh import batch_sharding, make_mesh
    from t5x_lite.perf.flops import peak_flops, train_flops
    from t5x_lite.training.program import make_program
    from t5x_lite.training.resolve import resolve_run

    cfg, device = config(options), jax.devices()[0]
    vocab_size = TINY_VOCAB_SIZE if options.dry_run else VOCAB_SIZE
    run = resolve_run(cfg)
    program = make_program(run, make_mesh(cfg.mesh, [device]), vocab_size)
    generator = np.random.default_rng(0)
    rows = {
        name: generator.integers(1, vocab_size, (cfg.train.batch_size, *shape)).astype(np.int32)
        for name, shape in feature_shapes(run.examples).items()
    }
    rows["decoder_loss_weights"][:] = 1
    seconds = []
    with jax.set_mesh(program.mesh):
        batch, state = jax.device_put(rows, batch_sharding(program.mesh)), program.init()
        for _ in range(options.rounds + 2):  # the first two compile and warm up
            begin = time.perf_counter()
            state, metrics = jax.block_until_ready(program.step(state, batch))
            seconds.append(time.perf_counter() - begin)
    best, median = min(seconds[2:]), statistics.median(seconds[2:])
    lengths, size = TINY_LENGTHS if options.dry_run else LENGTHS, cfg.train.batch_size
    peak, flops = peak_flops(device.device_kind), size * train_flops(program.model, *lengths)
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "model": options.models[0],
        "batch": size,
        "remat": options.remat[0],
        "dtype": program.model.dtype,
        "inputs_length": lengths[0],
        "targets_length": lengths[1],
        "sequences_per_s": size / best,
        "sequences_per_s_median": size / median,
        "tokens_per_s": size * sum(lengths) / best,
        "step_s": best,
        "first_step_s": seconds[0],
        "loss": float(metrics["loss"]),
        "mfu": None if peak is None else flops / best / peak,
        "peak_bytes": memory,
        "device": device.device_kind,
        "dry_run": options.dry_run,
    }


def config(options: argparse.Namespace) -> Any:
    """Returns the config of the timed step: a task of pairs, which are replaced by random ids."""
    from t5x_lite.config import MeshConfig, ModelOptions, RunConfig, TaskConfig, TrainConfig

    inputs_length, targets_length = TINY_LENGTHS if options.dry_run else LENGTHS
    model = ModelOptions(preset=options.models[0], dtype="bfloat16")
    return RunConfig(
        run_dir="unused",
        task=TaskConfig(source="unused.jsonl", inputs="{inputs}", targets="{targets}"),
        model=dataclasses.replace(model, **TINY) if options.dry_run else model,
        train=TrainConfig(
            batch_size=options.worker,
            inputs_length=inputs_length,
            targets_length=targets_length,
            remat=options.remat[0],
        ),
        mesh=MeshConfig(),
    )


if __name__ == "__main__":
    main()
