"""Tests t5x_lite/parallel/interrupts.py with processes that are sent real signals."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml

from t5x_lite.config.plain import as_plain
from t5x_lite.parallel import interrupts
from tests import runs
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is handled on POSIX alone")
HEAD = """
import atexit, contextlib, ctypes, gc, os, signal, sys, threading, time
from t5x_lite.parallel import interrupts
interrupts.SECONDS_TO_END = 3.0

def ready():
    print("ready", flush=True)

def main():
    with interrupts.handled() as is_handled:
        assert is_handled
        try:
            work()
        except BaseException as error:
            assert interrupts.caused(error), error
            print("cleaned up", flush=True)
            return interrupts.STATUS
    return 0
"""
LAST = "\nsys.exit(main())"
CLI = [sys.executable, "-m", "t5x_lite"]
COLLECTED = """
def work():
    gc.callbacks.append(lambda phase, info: [None for _ in range(20_000)])
    ready()
    while True:
        gc.collect(0)
        for _ in range(20_000): pass
"""
DESTROYED = """
class Slow:
    def __del__(self):
        for _ in range(200_000): pass

def work():
    ready()
    while True:
        Slow()
        for _ in range(200_000): pass
"""
IMPORTED = """
def work():
    sys.path.insert(0, sys.argv[1])
    import slow_to_import
    time.sleep(60)
"""
COMPILING = """
def work():
    mutex = (ctypes.c_char * 64)()
    ready()
    for _ in range(2):  # waits for itself, whatever signals arrive
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""
CLEANING = """
def work():
    try:
        ready()
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
"""


LEAVING = """
def work():
    threading.Thread(target=time.sleep, args=(60,), name=sys.argv[1], daemon=True).start()
    atexit.register(sys.stderr.write, "cleaned up at exit")
    ready()
    interrupts.leave(3)
"""


def start(work: str, *arguments: str) -> subprocess.Popen:
    """Starts a program, and returns when it says that it is ready."""
    command = [sys.executable, "-c", HEAD + work + LAST, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def press(process: subprocess.Popen, seconds: float = 0.1) -> None:
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)


def end(process: subprocess.Popen, seconds: float = 20) -> tuple[int, str, str]:
    """Returns the status, standard output and standard error."""
    try:
        printed, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, printed, errors


@pytest.mark.parametrize("work", [COLLECTED, DESTROYED], ids=["a gc callback", "a destructor"])
def test_an_interrupt_that_python_would_ignore_is_delivered_again(work):
    for _ in range(3):
        process = start(work)
        press(process)
        assert end(process) == (130, "cleaned up\n", "")


@pytest.mark.parametrize("handler", ["finally:\n    pass", "except BaseException:\n    pass"])
def test_a_module_is_imported_to_its_end_before_the_interrupt(handler, tmp_path):
    body = "    print('ready', flush=True)\n    time.sleep(0.7)\n    print('imported', flush=True)\n"
    (tmp_path / "slow_to_import.py").write_text(f"import time\ntry:\n{body}{handler}\n")
    process = start(IMPORTED, str(tmp_path))
    press(process)
    assert end(process) == (130, "imported\ncleaned up\n", "")


@pytest.mark.parametrize("work", [CLEANING, COMPILING], ids=["in Python", "in compiled code"])
def test_sigterm_ends_a_command_that_has_nothing_to_save_with_its_own_status(work):
    process = start(work.replace("def work():", "@interrupts.restartable()\ndef work():"))
    process.send_signal(signal.SIGTERM)
    line = "\nt5x-lite train: stopped by SIGTERM with nothing to save; run the same command again\n"
    assert end(process)[::2] == (interrupts.STOPPED, line)


def test_sigterm_has_its_usual_meaning_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with interrupts.restartable():
        assert signal.getsignal(signal.SIGTERM) is interrupts.stop
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_call_that_does_not_return_to_python_is_ended():
    process = start(COMPILING)
    press(process)
    assert end(process) == (130, "", "\nt5x-lite: interrupted\n")


def test_a_second_press_ends_the_process_at_once_with_its_workers():
    worker = "multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,)).start()"
    process = start("import multiprocessing\n" + CLEANING.replace("ready()", f"{worker}; ready()"))
    begin = time.monotonic()
    press(process)
    press(process, 0.5)
    assert end(process)[:2] == (130, "cleaning\n")  # after the worker, which holds the same standard output
    assert time.monotonic() - begin < 2.5


def test_one_press_that_arrives_twice_is_one():
    cleaning, _, _ = CLEANING.rpartition("60")
    process = start(f"{cleaning}1)")
    press(process)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "cleaning\ncleaned up\n", "")


@pytest.mark.slow
def test_clean_up_has_some_seconds():
    process = start(CLEANING)
    press(process)
    assert end(process) == (130, "cleaning\n", "\nt5x-lite: interrupted\n")


FORGETS = """
def work():
    for number in range(4):
        ready()
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(60)
        interrupts.forget()
    ready()
    time.sleep(4)  # longer than a command may take to end
"""


@pytest.mark.slow
def test_a_command_that_goes_on_is_interrupted_again_and_again():
    process = start(FORGETS)
    assert process.stdout is not None
    for _ in range(4):
        press(process, 0.3)
        assert process.stdout.readline() == "ready\n"
    assert end(process) == (0, "", "")


TRAINS = """
def work():
    from t5x_lite.parallel.preemption import StopSignal
    with StopSignal() as stop:
        stop.begin()
        ready()
        while not stop.requested:
            time.sleep(0.01)
        time.sleep(4)
        print("saved", flush=True)
"""


@pytest.mark.slow
def test_training_stops_as_it_wishes_and_a_second_press_interrupts_it():
    process = start(TRAINS)
    press(process)
    status, printed, _ = end(process)
    assert (status, printed) == (0, "saved\n")
    process = start(TRAINS)
    press(process)
    press(process, 0.5)
    status, printed, _ = end(process)
    assert (status, printed) == (130, "cleaned up\n")


@pytest.mark.parametrize(("thread", "printed"), [("t5x-lite-engine", ""), ("another", "cleaned up at exit")])
def test_leaving_cleans_up_unless_a_thread_of_the_package_still_runs(thread, printed):
    assert end(start(LEAVING, thread)) == (3, "", printed)


def test_python_has_its_handlers_back_afterwards():
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook, signal.set_wakeup_fd(-1)
    for _ in range(3):
        with interrupts.handled() as is_handled:
            assert is_handled
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook, signal.set_wakeup_fd(-1)) == before
    assert not [thread for thread in threading.enumerate() if "interrupts" in thread.name]


def test_an_ignored_ctrl_c_stays_ignored_and_threads_have_none():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.handled() as is_handled:
            assert not is_handled
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    answers = []

    def ask() -> None:
        with interrupts.handled() as is_handled:
            answers.append(is_handled)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]


def interrupted(arguments: list[str], seconds: float) -> tuple[int, str]:
    process = subprocess.Popen(
        [*CLI, *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    press(process, seconds)
    status, _, errors = end(process, interrupts.SECONDS_TO_END + 4)
    return status, errors


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run directory, and its config file."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "c.yaml"
    config.write_text(yaml.safe_dump(as_plain(runs.config(folder / "run"))))
    subprocess.run([*CLI, "train", "--config", str(config)], cwd=ROOT, check=True, capture_output=True)
    return folder / "run", config


@pytest.mark.slow
def test_a_command_that_starts_is_interrupted(tmp_path):
    status, errors = interrupted(["train", "--config", "configs/smoke/cpu.yaml", "--run_dir", str(tmp_path / "r")], 0.8)
    assert status == 130
    assert errors.endswith("interrupted\n")
    assert errors.count("\n") <= 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["infer", "eval", "compile", "data stats", "attention", "convert", "serve"])
def test_every_command_is_interrupted_at_every_moment(command, trained, tmp_path):
    if command == "serve":
        pytest.importorskip("uvicorn")
    run_dir, config = trained
    many = tmp_path / "many.txt"
    many.write_text("Is it odd?\n" * 20_000)
    arguments = {
        "infer": ["--checkpoint", str(run_dir), "--input", str(many), "--output", "-", "--max_new_tokens", "60"],
        "eval": ["--checkpoint", str(run_dir)],
        "compile": ["--config", str(config)],
        "data stats": ["--config", str(config)],
        "attention": ["--checkpoint", str(run_dir), "--text", "a", "--output", str(tmp_path / "a.html")],
        "convert": [str(run_dir), str(tmp_path / "hf-MOMENT")],
        "serve": ["--checkpoint", str(run_dir), "--port", "0"],
    }[command]
    for moment in range(5):
        here = [argument.replace("MOMENT", str(moment)) for argument in arguments]
        status, errors = interrupted([*command.split(), *here], 1.0 + 0.9 * moment)
        # A press after the command's end, while Python ends, kills it: shells report 130 for both.
        ended = status in (130, -signal.SIGINT) or (status == 0 and "interrupted" not in errors)
        assert ended, f"{moment}: {status}: {errors}"
        assert "Traceback" not in errors
