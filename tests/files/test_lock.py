"""Tests t5x_lite/files/lock.py"""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from t5x_lite.files.lock import locked
from tests.paths import ROOT

HOLDER = """
import pathlib, sys, time
from t5x_lite.files.lock import locked
file = locked(pathlib.Path(sys.argv[1]), "it", "go away")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(path):
    """Another process, which holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_the_holder_and_a_remedy(path, holder):
    message = f"it is in use by process {holder.pid} on {socket.gethostname()}: wait for it to finish, or go away"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        locked(path, "it", "go away")


def test_a_lock_ends_with_its_process(path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    locked(path, "it", "go away").close()


def test_a_lock_ends_when_its_file_is_closed(path):
    locked(path, "it", "go away").close()
    locked(path, "it", "go away").close()


def test_a_glance_at_a_lock_is_not_in_the_way(path, monkeypatch):
    """`t5x-lite runs` shares it for an instant, to see whether it is held."""
    glance = path.open("a+")
    fcntl.flock(glance, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: glance.close())
    locked(path, "it", "go away").close()


def test_a_lock_is_of_the_file_that_has_its_name(path, monkeypatch):
    """The last holder may remove the file after another process has opened it."""
    stat, removed = os.fstat, []

    def remove_first(descriptor):
        if not removed:
            path.unlink()
            removed.append(path)
        return stat(descriptor)

    monkeypatch.setattr(os, "fstat", remove_first)
    with locked(path, "it", "go away") as file:
        assert removed
        assert os.path.samestat(stat(file.fileno()), path.stat())
