# SPDX-License-Identifier: Apache-2.0
"""Times T5 1.1 small's generation against Hugging Face's in the same run; prints one JSON object per mode.

    python scripts/bench_generate.py [--batch 8 --inputs 512 --new 64 --rounds 5]

Both decode exactly `--new` tokens in float32 from the same random ids: greedily, with 4 beams, and by sampling with
top-k 50, top-p 0.9 and temperature 0.8. They run in separate processes and take turns, so that other load on the
machine affects both alike. `ratio` is our new tokens/s over theirs, each in its best round; `ratio_median` compares
medians. Our time is also split into the encoder with the cross-attention projections (`encoder_s`), the decoding
steps (`decoder_s`), and the first call with its compilation (`first_s`). Without torch and transformers only t5x_lite
is timed.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

MODES = ("greedy", "beam4", "sample")
SAMPLING = {"temperature": 0.8, "top_k": 50, "top_p": 0.9}


def main() -> None:
    """Times both libraries and prints the results; with --worker, runs as one of the two workers."""
    parser = argparse.ArgumentParser(description="Times T5 1.1 small's generation against Hugging Face's.")
    for name, value in (("batch", 8), ("inputs", 512), ("new", 64), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(WORKERS[options.worker](options))
        return
    has_peer = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    workers = {name: start(name) for name in (WORKERS if has_peer else ["ours"])}
    first = {mode: ask(workers["ours"], mode) for mode in MODES}
    if has_peer:
        for mode in MODES:
            ask(workers["peer"], mode)
    for mode in MODES:
        timed = {name: [] for name in workers}
        for _ in range(options.rounds):
            for name, worker in workers.items():
                timed[name].append(ask(worker, mode))
        print(json.dumps(summary(options, mode, timed, first[mode])), flush=True)
    for worker in workers.values():
        assert worker.stdin
        worker.stdin.close()
        worker.wait()


def summary(options: argparse.Namespace, mode: str, timed: dict[str, list[dict]], first: dict) -> dict:
    """Returns the times and ratios of one mode."""
    tokens = options.batch * options.new
    seconds = {name: [round_["seconds"] for round_ in rounds] for name, rounds in timed.items()}
    best = min(timed["ours"], key=lambda round_: round_["seconds"])
    result = {
        "mode": mode,
        "model": "t5_1_1_small",
        "dtype": "float32",
        "batch": options.batch,
        "inputs_length": options.inputs,
        "new_tokens": options.new,
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "ours_best_s": best["seconds"],
        "ours_median_s": statistics.median(seconds["ours"]),
        "ours_new_tokens_per_s": tokens / best["seconds"],
        "encoder_s": best["encoder_s"],
        "decoder_s": best["decoder_s"],
        "first_s": first["seconds"],
        "peer": None,
        "ratio": None,
    }
    if "peer" in seconds:
        result |= {
            "peer": "transformers",
            "peer_best_s": min(seconds["peer"]),
            "peer_median_s": statistics.median(seconds["peer"]),
            "peer_new_tokens_per_s": tokens / min(seconds["peer"]),
            "ratio": min(seconds["peer"]) / best["seconds"],
            "ratio_median": statistics.median(seconds["peer"]) / statistics.median(seconds["ours"]),
        }
    return result


def start(name: str) -> subprocess.Popen:
    """Starts a worker."""
    command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--worker", name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def ask(worker: subprocess.Popen, mode: str) -> dict:
    """Returns a worker's times for one mode."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(f"{mode}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("a benchmark worker exited: see its error above")
    return json.loads(line)


def serve(generate) -> None:
    """Generates once per line of standard input and prints the times."""
    for line in sys.stdin:
        begin = time.perf_counter()
        times = generate(line.strip())
        print(json.dumps({"seconds": time.perf_counter() - begin} | times), flush=True)


def ours(options: argparse.Namespace):
    """Returns a function that generates in one mode and waits for the result."""
    import jax
    import numpy as np
    from flax import nnx

    from t5x_lite.config.generation import GenerationConfig
    from t5x_lite.inference.loop import LOCAL, collect, decode_until, prefill
    from t5x_lite.inference.params import make_decode_spec, make_sampling_params
    from t5x_lite.model.architectures import ENCODER_DECODER
    from t5x_lite.model.kernels.unstacked import decode_layout
    from t5x_lite.model.presets import presets
    from t5x_lite.model.transformer import T5
    from t5x_lite.parallel import xla_options

    cfg = presets["t5_1_1_small"]
    model = jax.jit(lambda: T5(cfg, rngs=nnx.Rngs(0)), compiler_options=xla_options.for_init("cpu"))()
    model = decode_layout(model)  # once per model, as in infer and serve
    inputs_BS = random_ids(np, options)
    length = {"max_new_tokens": options.new, "min_new_tokens": options.new}
    configs = {"greedy": {}, "beam4": {"num_beams": 4, "length_penalty": 1.0, "beam_variant": "hf"}, "sample": SAMPLING}

    def generate(mode: str) -> dict:
        config = [GenerationConfig(**length, **configs[mode])] * options.batch
        params = make_sampling_params(config, range(options.batch), eos_id=1)
        spec = make_decode_spec(config, vocab_size=None, num_steps=options.new)
        start = time.perf_counter()
        state, placed = prefill(model, ENCODER_DECODER, inputs_BS, params, spec, LOCAL)
        jax.block_until_ready(state)
        read = time.perf_counter()
        state = decode_until(model, state, placed, options.new, spec=spec)
        result = collect(state, spec, LOCAL)
        assert (result.tokens_BKT[:, 0, -1] != 0).all()
        return {"encoder_s": read - start, "decoder_s": time.perf_counter() - read}

    return generate


def theirs(options: argparse.Namespace):
    """Returns a function that generates in one mode with Hugging Face's model."""
    import numpy as np
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    sizes = {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_heads": 6}
    config = T5Config(
        **sizes,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = T5ForConditionalGeneration(config).eval()
    inputs = torch.tensor(random_ids(np, options), dtype=torch.long)
    modes = {"greedy": {}, "beam4": {"num_beams": 4}, "sample": {"do_sample": True, **SAMPLING}}

    def generate(mode: str) -> dict:
        with torch.no_grad():
            model.generate(inputs, max_new_tokens=options.new, min_new_tokens=options.new, **modes[mode])
        return {}

    return generate


def random_ids(numpy, options: argparse.Namespace):
    """Returns random inputs_BS without padding or EOS."""
    return numpy.random.default_rng(0).integers(2, 32000, (options.batch, options.inputs)).astype(numpy.int32)


WORKERS = {"ours": ours, "peer": theirs}

if __name__ == "__main__":
    main()
