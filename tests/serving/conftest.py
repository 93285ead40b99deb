"""What several tests of serving need."""

import threading

import pytest

from t5x_lite.serving import engine as engine_module
from t5x_lite.serving import programs as programs_module
from tests.serving.models import SECONDS


@pytest.fixture
def compiled_when_used(monkeypatch):
    """Batches do not wait for their programs, nor run with others meanwhile."""
    monkeypatch.setattr(programs_module.Programs, "find", lambda self, needed: needed)


@pytest.fixture
def held(monkeypatch, compiled_when_used):
    """Batches wait until the event is set; the jobs of each are in its list `batches`."""
    gate, run_batch = threading.Event(), engine_module.run_batch
    gate.batches = []

    def run(pretrained, jobs, *more):
        gate.batches.append(jobs)
        assert gate.wait(SECONDS)
        run_batch(pretrained, jobs, *more)

    monkeypatch.setattr(engine_module, "run_batch", run)
    yield gate
    gate.set()
