"""Real processes of the command line, one or several, which share four devices of this machine."""

import os
import socket
import subprocess
import sys

from t5x_lite.parallel.multihost import ADDRESS, COUNT, INDEX
from tests.paths import ROOT

FIELDS = {
    "task.packages": "[optax]",
    "task.tokenizer.kind": "bytes",
    "model.emb_dim": 32,
    "model.num_encoder_layers": 1,
    "model.num_decoder_layers": 1,
    "train.batch_size": 8,
    "train.inputs_length": 32,
    "train.log_every_steps": 1,
    "eval.num_batches": 1,
}  # of a run small enough to be trained by every test
START = "import sys; from t5x_lite.cli import main; sys.exit(main(sys.argv[1:]))"


def environment(num_processes, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "SLURM_"))}
    devices = f"--xla_force_host_platform_device_count={4 // num_processes}"
    return kept | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": devices, "PYTHONPATH": str(ROOT)} | more


def free_port():
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def started(num_processes, *arguments, own=None, start=START):
    """The processes of a command; `own` has more arguments for each, `start` is the code they run."""
    address = f"localhost:{free_port()}"
    return [
        subprocess.Popen(
            [sys.executable, "-c", start, *arguments, *(own[index] if own else ())],
            env=environment(num_processes, **{ADDRESS: address, COUNT: str(num_processes), INDEX: str(index)}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(num_processes)
    ]


def ended(processes, timeout=300):
    """What each has printed, and their statuses."""
    printed = [process.communicate(timeout=timeout)[0] for process in processes]
    return printed, [process.returncode for process in processes]
