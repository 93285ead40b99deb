"""Tests t5x_lite/data/trust.py"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from t5x_lite.data.trust import UntrustedCode, check_trusted, code_names
from t5x_lite.evaluation.api import evaluate
from tests.held_out import make_run
from tests.paths import ROOT

INSTEAD = "give the field yourself"
FOREIGN = "antigravity:geohash"  # a module of the standard library that opens a browser when it is imported


def check(task, run_dir="run", trust=None, given=""):
    check_trusted(task, run_dir, trust, given=given, instead=INSTEAD)


@pytest.mark.parametrize("field", ["base", "preprocess", "source", "eval_source"])
def test_code_that_a_run_names_is_refused_without_being_imported(field):
    with pytest.raises(UntrustedCode) as caught:
        check({field: FOREIGN})
    assert str(caught.value) == (
        f"run has task.{field} {FOREIGN}, which would import the module antigravity: if you trust its code, add "
        "--trust run; or give the field yourself"
    )
    assert "antigravity" not in sys.modules


def test_code_is_found_in_lists_of_sources_and_in_the_tasks_of_mixtures():
    inner = {"mixture": {"tasks": {"b": {"source": ["a.txt", FOREIGN, "tfds:glue"]}}}}
    assert list(code_names({"mixture": {"tasks": {"a": inner}}})) == [
        ("task.mixture.tasks.a.mixture.tasks.b.source", FOREIGN)
    ]


@pytest.mark.parametrize(
    "task",
    [
        {"source": "a.txt", "preprocess": None},
        {"source": "tfds:glue/cola@train"},
        {"source": "hf:owner/name@train"},
        {"preprocess": "t5x_lite.tasks.squad:squad", "base": "t5x_lite.tasks.glue:COLA"},
        {"preprocess": "no_such_package.where:F"},  # nothing to import
        {"source": 3, "mixture": [], "base": {"a": 1}},  # damaged, and no code
    ],
)
def test_other_sources_and_the_tasks_of_t5x_lite_need_no_trust(task):
    check(task)


@pytest.mark.parametrize("name", ["t5x_lite.training.run_dir:subprocess", "t5x_lite.tasks_:F", "os:system"])
def test_only_the_tasks_of_t5x_lite_are_always_trusted(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name.partition(":")[0], None)
    with pytest.raises(UntrustedCode):
        check({"preprocess": name})


def test_a_trusted_run_directory_may_name_code_under_whatever_path(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    check({"source": FOREIGN}, "run", trust=str(tmp_path / "link"))
    with pytest.raises(UntrustedCode):
        check({"source": FOREIGN}, "run", trust=str(tmp_path))


def test_a_checkpoint_of_a_run_stands_for_the_run(tmp_path):
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    (tmp_path / "config.yaml").touch()
    checkpoint = tmp_path / "checkpoints" / "3"
    check({"source": FOREIGN}, tmp_path, trust=checkpoint)
    check({"source": FOREIGN}, checkpoint, trust=tmp_path)
    with pytest.raises(UntrustedCode, match=f"add --trust {tmp_path};"):
        check({"source": FOREIGN}, checkpoint)


@pytest.mark.parametrize(
    ("given", "is_own"),
    [
        (f"--task.source={FOREIGN}", True),
        (f"--task.source\n[a.txt, {FOREIGN}]", True),
        (f"--task.source\nmy.{FOREIGN}", False),
        (f"--task.source\n{FOREIGN}_other", False),
        ("", False),
    ],
)
def test_code_that_the_user_writes_is_the_users_own(given, is_own):
    if is_own:
        check({"source": FOREIGN}, given=given)
    else:
        with pytest.raises(UntrustedCode):
            check({"source": FOREIGN}, given=given)


@pytest.fixture(scope="module")
def strange_run(tmp_path_factory):
    """A run directory that names code, and a folder with that code, which leaves a file when it is imported."""
    folder = make_run(tmp_path_factory.mktemp("strange"))
    (folder / "code").mkdir()
    (folder / "code" / "canary.py").write_text(
        f"open({str(folder / 'imported')!r}, 'w').close()\n"
        "DOCUMENTS = [{'n': str(n), 'word': 'one'} for n in range(40)]\n"
        "def same(record):\n    return record\n"
    )
    path = folder / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["task"] |= {"source": "canary:DOCUMENTS", "preprocess": "canary:same", "eval_source": None}
    config["task"]["eval_percent"] = 50.0
    path.write_text(json.dumps(config))
    shutil.rmtree(folder / "run" / "corpus")
    own = {"inputs": "{n}", "targets": "{word}", "source": "train.jsonl", "eval_source": "held.jsonl"}
    (folder / "mine.yaml").write_text(json.dumps({"task": own, "train": {"inputs_length": 29, "targets_length": 8}}))
    (folder / "in.jsonl").write_text('{"n": "1"}\n')
    return folder


def command(folder, *arguments):
    """Runs a command; returns its exit status, the last line of its errors, and whether the code was imported."""
    return python(folder, "-m", "t5x_lite", *map(str, arguments))


def python(folder, *arguments):
    """Runs Python with the folder's code in its path; returns as `command` does."""
    (folder / "imported").unlink(missing_ok=True)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder / 'code'}"}
    line = [sys.executable, *arguments]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr.strip().rpartition("\n")[2], (folder / "imported").exists()


EVAL = ["eval", "--checkpoint", "run", "--num_batches", 1]
INFER = ["infer", "--checkpoint", "run", "--input", "in.jsonl", "--max_new_tokens", 2]
EMBED = ["embed", "--checkpoint", "run", "--input", "in.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [EVAL, INFER, EMBED], ids=lambda arguments: arguments[0])
def test_a_command_that_needs_the_code_of_a_run_asks_for_trust(strange_run, arguments):
    status, message, imported = command(strange_run, *arguments)
    assert (status, imported) == (2, False)
    assert "which would import the module canary: if you trust its code, add --trust run; or " in message
    checkpoint = strange_run / "run" / "checkpoints" / "12"
    status, message, imported = command(strange_run, *arguments, "--trust", checkpoint)
    assert (status, imported) == (0, True), message


@pytest.mark.parametrize("model", ["run", "run/checkpoints/12"])
def test_evaluating_a_strange_run_in_python_asks_for_trust(strange_run, model, monkeypatch):
    monkeypatch.chdir(strange_run)
    monkeypatch.syspath_prepend(strange_run / "code")
    (strange_run / "imported").unlink(missing_ok=True)
    with pytest.raises(UntrustedCode, match=r"pass trust, the run directory run; or pass config"):
        evaluate(model)
    assert not (strange_run / "imported").exists()


@pytest.mark.slow
@pytest.mark.parametrize("trust", ["run", "run/checkpoints/12"])
def test_evaluating_a_trusted_run_in_python_imports_its_code(strange_run, trust):
    status, message, imported = python(strange_run, "-c", f"import t5x_lite; t5x_lite.evaluate('run', trust={trust!r})")
    assert (status, imported) == (0, True), message


@pytest.mark.slow
def test_loading_a_strange_run_in_python_imports_none_of_its_code(strange_run):
    code = "import t5x_lite; t5x_lite.generate(t5x_lite.load('run'), ['a'], max_new_tokens=2)"
    status, message, imported = python(strange_run, "-c", code)
    assert (status, imported) == (0, False), message


@pytest.mark.slow
def test_serving_a_strange_run_imports_none_of_its_code(strange_run):
    code = (
        "import json, threading, time, urllib.request, t5x_lite.cli as cli\n"
        "import os, signal, socket\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]; s.close()\n"
        "def ask():\n"
        "    url = f'http://127.0.0.1:{port}/v1/completions'\n"
        "    body = json.dumps({'model': 'run', 'prompt': 'a', 'max_tokens': 2}).encode()\n"
        "    for _ in range(600):\n"
        "        try:\n"
        "            urllib.request.urlopen(urllib.request.Request(url, body, {'Content-Type': 'application/json'}))\n"
        "            break\n"
        "        except OSError: time.sleep(0.1)\n"
        "    else: open('unanswered', 'w')\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=ask).start()\n"
        "cli.main(['serve', '--checkpoint', 'run', '--port', str(port)])\n"
    )
    pytest.importorskip("uvicorn")
    _, message, imported = python(strange_run, "-c", code)
    assert not imported, message
    assert not (strange_run / "unanswered").exists(), message


@pytest.mark.slow
def test_training_from_a_strange_run_imports_none_of_its_code(strange_run):
    own = ["--config", "mine.yaml", "--model.pretrained", "run", "--train.batch_size", 3, "--train.num_steps", 1]
    status, message, imported = command(strange_run, "train", *own, "--run_dir", "tuned")
    assert (status, imported) == (0, False), message


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "run", "out", "--format", "t5x-lite"],
        ["attention", "--checkpoint", "run", "--text", "1", "--target", "one", "--output", "map.html"],
        ["infer", "--checkpoint", "run", "--template", "{n}", "--input", "in.jsonl", "--max_new_tokens", 2],
        [*EVAL, "--run_dir", "new", "--config", "mine.yaml"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[3]}",
)
def test_a_command_that_does_not_need_the_code_of_a_run_does_not_import_it(strange_run, arguments):
    status, message, imported = command(strange_run, *arguments)
    assert (status, imported) == (0, False), message


@pytest.mark.slow
def test_code_that_the_options_of_eval_name_is_imported(strange_run):
    named = ["--task.source", "canary:DOCUMENTS", "--task.preprocess", "canary:same"]
    status, message, imported = command(strange_run, *EVAL, *named)
    assert (status, imported) == (0, True), message
