"""Tests t5x_lite/data/corpus/workers.py"""

import os
import pathlib
import subprocess
import sys
import time

from tests.data.corpus.test_tokenize import contents, prepared, task  # noqa: F401
from tests.paths import ROOT

PARENT = """
import multiprocessing, os, threading, time
from concurrent.futures import ProcessPoolExecutor
from t5x_lite.data.corpus import workers
def begin():
    threading.Thread(target=workers._end_with_parent, daemon=True).start()
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=begin)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"  # an orphan that nobody waits for


def test_worker_processes_write_the_same_bytes(task, tmp_path):  # noqa: F811
    _, _, here = prepared(task, tmp_path / "here")
    _, _, there = prepared(task, tmp_path / "there", num_workers=2)
    assert here == there
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)
