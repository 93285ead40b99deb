"""Tests t5x_lite/serving/compiler_resources.py, in processes of their own: priorities cannot be raised again."""

import json
import subprocess
import sys

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
PRIORITIES = """
import json, os, pathlib, threading
import jax.numpy as jnp
from t5x_lite.serving import compiler_resources
(jnp.ones((512, 512)) @ jnp.ones((512, 512))).block_until_ready()
ended = threading.Event()
threading.Thread(target=ended.wait).start()
compiler_resources.lower_priority()
ours = {thread.native_id for thread in threading.enumerate()}
found = {"ours": [], "computing": [], "others": []}
for task in pathlib.Path("/proc/self/task").iterdir():
    number = int(task.name)
    computes = (task / "comm").read_text().startswith("tf_XLAEigen")
    kind = "ours" if number in ours else "computing" if computes else "others"
    found[kind].append(os.getpriority(os.PRIO_PROCESS, number))
ended.set()
print(json.dumps(found))
"""
MEMORY = """
import ctypes, json, pathlib, re
from t5x_lite.serving import compiler_resources

def resident_mib():
    return int(re.findall(r"VmRSS:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[0]) // 1024

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
before = resident_mib()
blocks = [libc.malloc(8_000) for _ in range(20_000)]
for block in blocks:
    ctypes.memset(block, 1, 8_000)
for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
    libc.free(block)
freed = resident_mib()
compiler_resources.return_memory()
print(json.dumps([before, freed, resident_mib()]))
"""


def printed(code):
    return json.loads(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout)


def test_only_threads_that_neither_compute_nor_are_pythons_get_a_lower_priority():
    found = printed(PRIORITIES)
    assert set(found["ours"]) == set(found["computing"]) == {0}
    assert len(found["ours"]) == 2
    assert set(found["others"]) == {10}


def test_freed_memory_returns_to_the_system():
    before, freed, after = printed(MEMORY)
    assert freed > before + 100
    assert after < before + 20
