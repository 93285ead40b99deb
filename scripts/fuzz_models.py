# SPDX-License-Identifier: Apache-2.0
"""Opens damaged and hostile model directories; prints one JSON object, and fails if one of them broke a rule.

    python scripts/fuzz_models.py [--num 50000] [--seconds 3600] [--seed 0] [--workers 2] [--keep DIR] [--only N]

Each case changes a small valid directory (of Hugging Face, sentence-transformers, T5X, t5x_lite or a run) in one to
three places: values in its JSON and YAML, rules of its tokenizer, headers of its weights, bytes, lengths and whole
files. Loading it, and encoding a text with its tokenizer, must succeed or be refused in one line that names the
directory, within 2 s of CPU time and 500 MiB, without running or fetching anything. Cases are opened by worker
processes, so that one that hangs, crashes or fills the memory is caught and named. A case depends only on the seed and
its number.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from scripts.fuzzing.mutations import mutate
from scripts.fuzzing.seeds import write_seeds

MAX_SECONDS, MAX_MIB, MAX_MESSAGE = 2.0, 500, 2_000
KILL_SECONDS, KILL_WALL = 8.0, 60.0  # of CPU and of waiting, after which a case is taken for one that hangs
SPARE_BYTES = 2**31  # of address space for a case; beyond it, memory errors are raised
CASES_PER_WORKER = 400  # compiled and traced models stay in memory
TEXT = "The quick <extra_id_0> fox. \u00fc \uffff aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "webbrowser.")


class Result(NamedTuple):
    """How a case ended."""

    number: int
    outcome: str  # loaded, refused, or the rule that it broke
    seconds: float = 0.0
    mib: float = 0.0
    about: str = ""


def main() -> None:
    """Runs the cases and prints the result."""
    parser = argparse.ArgumentParser(description="Opens damaged and hostile model directories.")
    parser.add_argument("--num", type=int, default=50_000, help="number of cases")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time after which no case is started")
    parser.add_argument("--seed", type=int, default=0, help="seed of all cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="number of the only case, whose message is printed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="number of processes")
    parser.add_argument("--keep", type=pathlib.Path, help="directory for the cases that broke a rule")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.num)
    if options.only is not None:
        numbers, options.workers = range(options.only, options.only + 1), 1
    with tempfile.TemporaryDirectory(prefix="fuzz_models_") as folder:
        begin = time.monotonic()
        seeds = write_seeds(pathlib.Path(folder) / "seeds")
        shares = [numbers[place :: options.workers] for place in range(options.workers)]
        context, queue = multiprocessing.get_context("spawn"), multiprocessing.get_context("spawn").SimpleQueue()
        arguments = [(share, seeds, folder, options, begin + options.seconds, queue) for share in shares if share]
        drivers = [context.Process(target=drive, args=some) for some in arguments]
        for driver in drivers:
            driver.start()
        results = list(received(queue, drivers))
    if options.only is not None:
        print(results[0]._asdict())
        return
    summary = summarised(results, time.monotonic() - begin, options.seed)
    print(json.dumps(summary))
    sys.exit(bool(summary["broken"]))


def received(queue: Any, drivers: Sequence[Any]) -> Iterator[Result]:
    """Yields the results of all drivers, each of which ends with None; exits if one ends without."""
    num_drivers = len(drivers)
    while num_drivers:
        if queue.empty():
            if any(driver.exitcode for driver in drivers):
                sys.exit(f"a process that makes cases ended with {[driver.exitcode for driver in drivers]}")
            time.sleep(0.02)
        elif (result := queue.get()) is None:
            num_drivers -= 1
        else:
            yield result


def summarised(results: list[Result], seconds: float, seed: int) -> dict[str, Any]:
    """Returns the counts, the extremes and the cases that broke a rule."""
    broken = [result for result in results if result.outcome not in ("loaded", "refused")]
    return {
        "seed": seed,
        "tried": len(results),
        "loaded": sum(result.outcome == "loaded" for result in results),
        "refused": sum(result.outcome == "refused" for result in results),
        "broken": [result._asdict() for result in sorted(broken)[:100]],
        "num_broken": len(broken),
        "most_seconds": round(max((result.seconds for result in results), default=0), 2),
        "most_mib": round(max((result.mib for result in results), default=0)),
        "cases_per_second": round(len(results) / seconds, 1),
    }


def drive(
    numbers: range, seeds: list[pathlib.Path], folder: str, options: argparse.Namespace, end: float, queue: Any
) -> None:
    """Sends cases to a worker, one at a time, and replaces it when it dies or has had enough."""
    worker, num_cases = None, 0
    try:
        for number in numbers:
            if time.monotonic() > end:
                break
            if worker is None or num_cases >= CASES_PER_WORKER or not worker.process.is_alive():
                if worker:
                    worker.stop()
                worker, num_cases = Worker(), 0
            queue.put(run_case(worker, number, seeds, pathlib.Path(folder), options))
            num_cases += 1
    finally:
        if worker:
            worker.stop()
        queue.put(None)


def run_case(
    worker: "Worker", number: int, seeds: list[pathlib.Path], folder: pathlib.Path, options: argparse.Namespace
) -> Result:
    """Makes a case and lets a worker open it."""
    directory = folder / f"case{number}"
    what = mutate(seeds, directory, np.random.default_rng([options.seed, number]))
    result = worker.open(number, directory)
    is_broken = result.outcome not in ("loaded", "refused")
    if is_broken or options.only is not None:
        result = result._replace(about=f"{what}: {result.about}"[:1_500])
    if is_broken and options.keep:  # with the holes of its large files, which would fill the disk
        options.keep.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--sparse=always", directory, options.keep], check=False)
    shutil.rmtree(directory, ignore_errors=True)
    return result


class Worker:
    """A process that opens directories."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()  # once it has imported everything

    def open(self, number: int, directory: pathlib.Path) -> Result:
        """Lets it open a directory; stops it if it takes too long."""
        begin, started = _cpu_seconds(self.process.pid), time.monotonic()
        self.connection.send((number, str(directory)))
        while not self.connection.poll(0.05):
            used = _cpu_seconds(self.process.pid) - begin
            if not self.process.is_alive():
                return Result(number, "crashed", about=f"exit status {self.process.exitcode}")
            if used > KILL_SECONDS or time.monotonic() - started > KILL_WALL:
                self.stop()
                return Result(number, "hung", used, about=f"{time.monotonic() - started:.0f} s")
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            return Result(number, "crashed", about=f"exit status {self.process.exitcode}")

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def work(connection: Connection) -> None:
    """Opens directories until it is killed."""
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # warnings, and what libraries in Rust print when they panic
    seen = watched_events()
    open_model = imported()
    limit = _status("VmSize") * 1024 + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send(None)
    while True:
        number, directory = connection.recv()
        seen.clear()
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory
        before, begin = _status("VmRSS"), time.process_time()
        outcome, message = attempt(open_model, directory)
        seconds, mib = time.process_time() - begin, (_status("VmHWM") - before) / 1024
        if seen:
            outcome, message = "ran something", f"{seen[:3]}"
        elif seconds > MAX_SECONDS or mib > MAX_MIB:
            outcome = "slow" if seconds > MAX_SECONDS else "large"
        connection.send(Result(number, outcome, seconds, mib, message))


def attempt(open_model: Callable[[str], None], directory: str) -> tuple[str, str]:
    """Opens a directory; returns how that ended, and the message."""
    try:
        open_model(directory)
    except (ValueError, OSError) as error:
        message = str(error)
        if directory not in message:
            return "names no file", f"{type(error).__name__}: {message[:500]}"
        if not message.isprintable() or len(message) > MAX_MESSAGE:
            return "no short line", f"{len(message)} characters: {message[:500]!r}"
        return "refused", message
    except BaseException as error:
        return "raised", f"{type(error).__name__}: {str(error)[:500]}"
    return "loaded", ""


def watched_events() -> list[str]:
    """Returns a list to which Python adds every attempt to run or fetch something."""
    seen: list[str] = []
    sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(FORBIDDEN) else None)
    return seen


def imported() -> Callable[[str], None]:
    """Imports the package; returns a function that does what commands do with a model's directory."""
    import jax

    from t5x_lite.checkpoints.load import load, trained_length
    from t5x_lite.config import TokenizerConfig
    from t5x_lite.data.tokenizers import build_tokenizer
    from t5x_lite.data.tokenizers.bytes import ByteTokenizer

    def open_model(directory: str) -> None:
        is_t5x = (pathlib.Path(directory) / "t5x").exists()
        path = str(pathlib.Path(directory) / "t5x") if is_t5x else directory
        model = load(path, tokenizer=ByteTokenizer() if is_t5x else None)
        trained_length(path)
        model.tokenizer.decode(model.tokenizer.encode(TEXT))
        jax.block_until_ready(model.model)
        if not is_t5x and not (pathlib.Path(path) / "model.json").exists():
            build_tokenizer(TokenizerConfig(path=path), ()).encode_batch([TEXT])

    return open_model


def _status(field: str) -> int:
    """Returns a number of KiB in this process's status."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _cpu_seconds(pid: int | None) -> float:
    """Returns the CPU time of a process; infinite once it has ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
