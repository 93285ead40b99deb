"""Tests that mistakes are refused in one line, within two seconds of CPU time and before anything is made.

Run with `-s` to see the messages.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys

import pytest

from tests.paths import ROOT

MAX_SECONDS = 2.0  # of the CPU, start-up included; a busy machine takes longer by the clock
SLOW_START = 1.5  # allowed factor of a machine whose caches are cold
SMOKE = f"train --config {ROOT}/configs/smoke/cpu.yaml --run_dir new/run "
PAIRS = (
    "train --run_dir new/run --task.source qa.jsonl --task.inputs {q} --task.targets {a} --task.tokenizer.kind bytes "
    "--train.targets_length 16 --train.num_steps 2 --train.batch_size 8 --train.inputs_length 24 "
)
MISTAKES = {
    SMOKE + "--model.preset t5_1_1_smal": "model.preset is 't5_1_1_smal': use one of t5_1_1_small",
    SMOKE + "--train.targets_length 2": "train.targets_length is 2, but train.inputs_length 32 yields 8 targets",
    SMOKE + "--train.inputs_length 1": "train.inputs_length is 1: span corruption needs 3 or more",
    SMOKE + "--task.noise_density 0.9": "task.noise_density 0.9 keeps",
    SMOKE + "--train.num_microbatches 5": "train.batch_size 32 is not divisible by train.num_microbatches 5",
    SMOKE + "--mesh.tensor 3": "3 does not divide the number of devices",
    SMOKE + "--mesh.data 5": "need 5 devices",
    SMOKE + '--optimizer.factored {"nothing":"large",".*":"none"}': "'nothing', which decides for no parameter",
    SMOKE + "--optimizer.warmup_steps 6000": "use fewer warmup steps or more steps",
    SMOKE + "--optimizer.schedule rsqr": "did you mean rsqrt?",
    SMOKE + "--optimizer.nam adamw": "there is no option --optimizer.nam; did you mean --optimizer.name?",
    SMOKE + "--optimizer.from_pretrained true": "optimizer.from_pretrained is true without model.pretrained",
    SMOKE + "--task.tokenizer.vocab_size 50": "leaves -50 pieces beside 100 sentinels",
    SMOKE + "--task.tokenizer.path none.model": "task.tokenizer.path none.model does not exist",
    SMOKE + "--task.packages [nosuchpackage]": "not an installed top-level package",
    SMOKE + "--task.metrics [accuracy]": "the task is plain text and has no answers to score",
    SMOKE + "--task.text {title}": "has no field 'title', which task.text",
    SMOKE + "--task.base t5x_lite.tasks.glue:COLAA": "task.base 't5x_lite.tasks.glue:COLAA' cannot be imported",
    SMOKE + "--model.pretrained nowhere": "model.pretrained nowhere does not exist",
    SMOKE + "--train.remat [nosuch]": "train.remat names ['nosuch']: use some of",
    SMOKE + "--model.attention fused": "model.attention is fused, but there is no fused attention for CPUs: use auto",
    SMOKE + "--model.num_heads 0": "model.num_heads is 0: use a number above 0",
    SMOKE + "--run_dir file": "run_dir file is a file: name a directory",
    SMOKE + "--run_dir file/below": "is below",
    PAIRS + "--task.source none*.jsonl": "task.source 'none*.jsonl' matches no file",
    PAIRS + "--task.metrics [acuracy]": "did you mean accuracy?",
    PAIRS + "--task.inputs {p}": "qa.jsonl line 1 has no field 'p', which task.inputs '{p}' uses",
    PAIRS + "--task.targets {a": "is not a valid template",
    PAIRS + "--task.source few.jsonl": "into 3 for training and 0 held out",
    PAIRS + "--task.source empty.jsonl": "empty.jsonl is empty",
    PAIRS + "--task.source broken.jsonl": "broken.jsonl line 2 is not valid JSON",
    PAIRS + "--task.source twice.jsonl": "the key 'q' is given twice",
    PAIRS + "--task.eval_source empty.jsonl": "empty.jsonl is empty",
    PAIRS + "--train.targets_length null": "train.targets_length is null, but a task with task.targets needs it",
    PAIRS + "--task.preprocess nosuch.module:f": "task.preprocess 'nosuch.module:f' cannot be imported",
    PAIRS + "--task.choices {yes:no}": "but task.choices has only yes:no",
    PAIRS + "--model.architecture sequence_classifier": "task.labels is null, but a classifier needs labels",
    "eval --checkpoint model": "is not a run directory, so it has no task of its own",
    "data stats": "no task is named",
    "data prepare --output new --task.source qa.jsonl --task.inputs {p} --task.targets {a}": "has no field 'p'",
    "train --run_dir new/run --task.source utf16.txt --task.text_unit line": "utf16.txt line 1 contains NUL bytes",
}


def run(folder, command):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode, every start compiles all imports for a second
    command = [sys.executable, "-m", "t5x_lite", *command.split()]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    rows = [json.dumps({"q": f"what is {i} plus {i}?", "a": str(2 * i)}) for i in range(300)]
    (folder / "qa.jsonl").write_text("\n".join(rows))
    (folder / "few.jsonl").write_text("\n".join(rows[:3]))
    (folder / "empty.jsonl").write_text("")
    (folder / "broken.jsonl").write_text(rows[0] + '\n{"q": "a"\n')
    (folder / "twice.jsonl").write_text('{"q": "a", "q": "b", "a": "c"}\n' * 300)
    (folder / "utf16.txt").write_bytes("some words of a text\n".encode("utf-16-le") * 300)
    (folder / "file").write_text("")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    run(folder, SMOKE + "--mesh.tensor 3")  # which leaves the bytecode
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_refused_at_once_and_leaves_nothing(folder, command):
    before = sorted(pathlib.Path(folder).rglob("*"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = run(folder, command)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = now.ru_utime - used.ru_utime + now.ru_stime - used.ru_stime
    lines = [line for line in finished.stderr.splitlines() if not line.startswith("See: ")]
    print(f"{seconds:.1f} s  {lines[-1] if lines else finished.stdout}")
    assert finished.returncode == 2
    assert len(lines) == 1
    assert MISTAKES[command] in lines[0]
    assert "Traceback" not in finished.stderr
    assert sorted(pathlib.Path(folder).rglob("*")) == before
    assert seconds < MAX_SECONDS * SLOW_START
