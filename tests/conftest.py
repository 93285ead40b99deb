"""Eight fake CPU devices, quick compilation, and no silent broadcasting between ranks."""

import os
import tempfile

# Without LLVM's optimisations a program compiles in half the time; tests run it once or twice on tiny arrays.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax  # only now: it reads XLA_FLAGS

# Many tests, and the processes they start, compile the same few programs.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="t5x_lite_compiled_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
