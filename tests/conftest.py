"""Eight fake CPU devices, quick compilation, and no silent broadcasting between ranks."""

import os

# Without LLVM's optimisations a program compiles in half the time; tests run it once or twice on tiny arrays.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
