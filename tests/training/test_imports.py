"""Tests how much of the package training imports: what a reader has to read, and every host has to load."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

# Every start checks everything before work, keeps the last sane checkpoint, records the run's history and guards
# against a full disk. These are features of each run, so their lines count here instead of being imported when used.
MAX_STEP_FILES, MAX_RUN_LINES = 30, 9_800
COUNT = """
import pathlib, sys
files = [module.__file__ for name, module in sys.modules.items() if name.startswith("t5x_lite") and module.__file__]
print(*sorted(sys.modules))
print(len(files), sum(pathlib.Path(file).read_text().count("\\n") for file in files))
"""


def imports(program, *arguments):
    """Runs a program; returns the names of all imported modules, and the files and lines of the package's."""
    command = [sys.executable, "-c", program + COUNT, *map(str, arguments)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *_, names, counts = finished.stdout.splitlines()
    return set(names.split()), *map(int, counts.split())


def test_the_training_step_imports_few_files():
    _, num_files, _ = imports("import t5x_lite.training.step")
    assert num_files <= MAX_STEP_FILES


@pytest.mark.slow
def test_a_fresh_run_imports_only_what_it_uses(tmp_path):
    program = "import sys; from t5x_lite.cli import main; main(sys.argv[1:])"
    smoke = ["train", "--config", "configs/smoke/cpu.yaml", "--run_dir", tmp_path / "run", "--train.num_steps", 1]
    small = ["--eval.every_steps", 1, "--optimizer.warmup_steps", 0, "--task.packages", "[optax]"]
    names, _, num_lines = imports(program, *smoke, *small, "--task.tokenizer.vocab_size", 400)
    assert (tmp_path / "run" / "loss.svg").is_file()
    assert num_lines <= MAX_RUN_LINES
    others = (
        "checkpoints.load",
        "checkpoints.restoring",
        "checkpoints.hf",
        "checkpoints.t5x",
        "inference",
        "evaluation.metrics",
    )
    assert not {name for name in names for other in others if name.startswith(f"t5x_lite.{other}")}
    assert "scipy.stats" not in names
