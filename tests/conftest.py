"""Eight fake CPU devices, quick compilation, and no silent broadcasting between ranks."""

import importlib.metadata
import os
import signal
import tempfile

# Compiling is most of what the tests do, for programs run once or twice on tiny arrays. The last two flags, which halve
# it, are set only where they are known, because an unknown flag ends the process.
_flags = "--xla_backend_optimization_level=0"
if importlib.metadata.version("jax").startswith("0.10."):
    _flags += " --xla_cpu_use_fusion_emitters=false --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("XLA_FLAGS", _flags)

# Many tests, and the processes they start, compile the same few programs.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="t5x_lite_compiled_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# A shell without job control has jobs in the background ignore Ctrl-C, and so would all processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import jax  # noqa: E402 - only now: it reads them all from the environment

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example of a test may import or compile something, and the machine may be busy. The examples are the same in
# every run, so that a failure comes with the change that caused it; --hypothesis-profile=random draws others.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("same")


# The files that take longest, which a second process would otherwise wait for at the end.
LONGEST = ("test_loop.py", "test_step.py", "test_transformer.py", "test_eval.py")


def pytest_collection_modifyitems(items):
    """Puts the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
