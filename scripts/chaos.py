# SPDX-License-Identifier: Apache-2.0
"""Kills commands, fills their disk, damages a run's files and starts writers together; counts what does not survive.

    python scripts/chaos.py [--seed 0 --rounds 100 --seconds 3600 --json chaos.json]
    python scripts/chaos.py --short            # a sample of everything, in about a minute on an idle core

Every command is first run undisturbed, for reference. Then, with a tiny model and vocabulary, and a seed:

    kills    SIGKILL at a random moment of a command, or of one of its stages; the same command is started again, and
             may be killed again, until it ends
    disks    the disk is full after a random share of what a command writes; then there is space, and it runs again.
             Root gets a small tmpfs; others get a limit on the size of a file
    damage   each file of a run directory with a bit flipped, cut short, and deleted; the run is asked, measured,
             listed and trained further
    writers  three processes start on one output

Each trial is one of: survived, the same bits as undisturbed, or a line that names the file; lost, anything else with an
error; silent, other predictions, results, weights, rows of metrics or recorded starts without such a line. Prints a
table, and each trial that was lost or silent; the exit status is 1 if there is any.

Exported models are not damaged: safetensors files have no checksum, and one that we add would make every process read
the whole file where it now reads its shards alone.
"""

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
NUM_STEPS, EVERY_STEPS, MORE_STEPS = 12, 4, 3
CONFIG = f"""
task: {{source: text.txt, text_unit: line, min_characters: 5, eval_percent: 10,
  tokenizer: {{vocab_size: 70, num_sentinels: 20}}}}
model: {{preset: t5_1_1_small, emb_dim: 16, num_heads: 2, head_dim: 4, mlp_dim: 24, num_encoder_layers: 1,
  num_decoder_layers: 1}}
train: {{num_steps: {NUM_STEPS}, batch_size: 2, inputs_length: 32, log_every_steps: 1}}
optimizer: {{name: adafactor, learning_rate: 0.01, warmup_steps: 1}}
eval: {{every_steps: {EVERY_STEPS}, num_batches: 2}}
checkpoint: {{every_steps: {EVERY_STEPS}, keep: 2}}
"""
WORDS = ("cat", "mat", "dog", "hill", "sun", "moon", "sea")
NUM_WRITERS, MAX_KILLS, MAX_SECONDS_A_COMMAND = 3, 4, 300
POLL_SECONDS, STAGE_SECONDS, BLOCK_BYTES = 0.001, 0.3, 4096
SECTIONS = ("kills", "disks", "damage", "writers")
VERDICTS = ("survived", "lost", "silent")
# Runs one command line after another, as `t5x-lite` would, so that imports and compiled programs are there already.
WORKER = """
import contextlib, io, json, os, sys, traceback
from t5x_lite.cli import main
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = main(json.loads(line))
        except SystemExit as exited:
            status = exited.code
        except BaseException:
            traceback.print_exc()
            status = 1
    print(json.dumps([status, out.getvalue(), error.getvalue()]), file=answers, flush=True)
"""
Digest = Any  # what must be the same to the last bit


@dataclasses.dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    error: str

    @property
    def last_line(self) -> str:
        return (self.error.strip().splitlines() or [""])[-1]

    def is_refusal(self) -> bool:
        """Whether it ended with an error for the user, not with a traceback or a signal."""
        is_told = any(line.startswith("t5x-lite ") for line in self.error.splitlines())
        return self.status == 2 and is_told and "Traceback" not in self.error


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that writes an output.

    Args:
      arguments: its command line; {out} is the output.
      stages: patterns of files, beside the output or in it, that appear when a stage begins; {out} as above.
      kept: whether the output has its final name while it is being written, as a run directory.
    """

    arguments: str
    stages: tuple[str, ...] = ()
    kept: bool = False


JOBS = {
    "train": Job(
        "train --config tiny.yaml --run_dir {out}",
        ("{out}/corpus/*", "{out}/metrics.jsonl", "{out}/checkpoints/*tmp*", "{out}/checkpoints/[0-9]", "{out}/l*.svg"),
        kept=True,
    ),
    "data prepare": Job(
        "data prepare --config tiny.yaml --run_dir unused --output {out} --num_shards 4 --num_workers 0",
        ("{out}/parts", "{out}/.*.tmp"),
        kept=True,
    ),
    "infer": Job(
        "infer --checkpoint reference/train --input lines.txt --output {out} --max_new_tokens 8 --batch_size 1",
        ("{out}.partial",),
    ),
    "embed": Job(
        "embed --checkpoint reference/train --input lines.txt --output {out} --batch_size 1", ("{out}.partial",)
    ),
    "eval": Job("eval --checkpoint reference/train --output {out}", ("{above}/.*.lock", "{above}/.*.tmp")),
    "convert": Job("convert reference/train {out}", ("{above}/.*.tmp",)),
    "tokenizer train": Job("tokenizer train --input text.txt --output {out} --vocab_size 150"),
}


class Lab:
    """A folder with a reference of each output, and the processes that work in it."""

    def __init__(self, folder: pathlib.Path, seed: int):
        self.folder, self.random = folder, random.Random(seed)
        self.env = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1")
        self.env.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "cache"))
        self.seconds: dict[str, float] = {}  # of each undisturbed command
        self.digests: dict[str, Digest] = {}
        self._worker: subprocess.Popen[str] | None = None

    def prepare(self, names: Iterable[str]) -> None:
        """Writes the texts and the references."""
        drawn = random.Random(0)
        for name, count in (("text.txt", 200), ("lines.txt", 40)):
            lines = (f"{number} {' '.join(drawn.choices(WORDS, k=5))}" for number in range(count))
            (self.folder / name).write_text("\n".join(lines) + "\n")
        (self.folder / "tiny.yaml").write_text(CONFIG)
        (self.folder / "reference").mkdir()
        for name in names:
            out, began = self.reference(name), time.monotonic()
            done = self.finish(self.start(name, out))
            if done.status != 0:
                raise SystemExit(f"{name} fails undisturbed: {done.error}")
            self.seconds[name] = time.monotonic() - began
            self.digests[name] = self.digest(name, out)

    def reference(self, name: str) -> pathlib.Path:
        return self.folder / "reference" / name.replace(" ", "_")

    @contextlib.contextmanager
    def scratch(self) -> Iterator[pathlib.Path]:
        """Yields a new folder, removed afterwards."""
        path = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def start(self, name: str, out: pathlib.Path, max_bytes: int | None = None) -> subprocess.Popen[str]:
        """Starts a job as a process, which cannot write files of more than `max_bytes`."""
        command = [sys.executable, "-m", "t5x_lite", *JOBS[name].arguments.format(out=out).split()]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))) if max_bytes else None
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.env, preexec_fn=limit, **pipes)

    def finish(self, process: subprocess.Popen[str]) -> Done:
        """Waits for a process; kills one that hangs."""
        try:
            _, error = process.communicate(timeout=MAX_SECONDS_A_COMMAND)
        except subprocess.TimeoutExpired:
            process.kill()
            return Done(-signal.SIGKILL, "", f"hung for {MAX_SECONDS_A_COMMAND} s\n{process.communicate()[1]}")
        return Done(process.returncode, "", error)

    def ask(self, arguments: str) -> Done:
        """Runs a command line in the worker, which is started again if it has died."""
        if self._worker is None or self._worker.poll() is not None:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            with (self.folder / "worker.log").open("a") as log:
                self._worker = subprocess.Popen(
                    [sys.executable, "-c", WORKER], cwd=self.folder, env=self.env, stderr=log, **pipes
                )
        assert self._worker.stdin
        assert self._worker.stdout
        self._worker.stdin.write(json.dumps(arguments.split()) + "\n")
        self._worker.stdin.flush()
        ready, _, _ = select.select([self._worker.stdout], [], [], MAX_SECONDS_A_COMMAND)
        if answer := self._worker.stdout.readline() if ready else "":
            return Done(*json.loads(answer))
        self._worker.kill()
        return Done(self._worker.wait(), "", "the process died" if ready else "hung")

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()

    def digest(self, name: str, out: pathlib.Path) -> Digest:
        """Returns the numbers of an output: its bytes, or of a run, its losses and its last checkpoint's arrays."""
        if name != "train":
            return bytes_of(out)
        with self.scratch() as folder:
            done = self.ask(f"convert {out} {folder / 'model'}")
            return [losses(out), done.status, bytes_of(folder / "model"), bytes_of(out / "corpus")]


def bytes_of(path: pathlib.Path) -> dict[str, str]:
    """Returns the hashes of a file, or of the files of a directory by their names."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def losses(run_dir: pathlib.Path) -> list[tuple[Any, ...]]:
    """Returns the numbers of a run's metrics that do not depend on the time of day."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], *sorted(item for item in row.items() if "second" not in item[0])) for row in rows]


class Tally:
    """What was tried, and what came of it."""

    def __init__(self):
        self.counts: dict[tuple[str, str], collections.Counter[str]] = {}
        self.notes: list[dict[str, str]] = []

    def add(self, section: str, case: str, verdict: str, note: str = "") -> None:
        self.counts.setdefault((section, case), collections.Counter())[verdict] += 1
        if verdict != "survived":
            self.notes.append({"section": section, "case": case, "verdict": verdict, "note": note})
            print(f"{verdict.upper()}: {section}, {case}: {note}", file=sys.stderr, flush=True)

    def total(self, verdict: str) -> int:
        return sum(counter[verdict] for counter in self.counts.values())

    def table(self) -> str:
        """Returns a line per section and case."""
        rows: list[tuple[str, ...]] = [("", "", "tried", *VERDICTS)]
        for (section, case), counter in self.counts.items():
            rows.append((section, case, str(counter.total()), *(str(counter[verdict]) for verdict in VERDICTS)))
        totals = [str(self.total(verdict)) for verdict in VERDICTS]
        rows.append(("all", "", str(sum(map(int, totals))), *totals))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        form = "  ".join(f"{{:{side}{width}}}" for side, width in zip("<<>>>>", widths, strict=True))
        return "\n".join(form.format(*row).rstrip() for row in rows)

    def as_json(self) -> dict[str, Any]:
        """Returns the table and the notes."""
        rows = [
            {"section": section, "case": case, "tried": counter.total()} | {name: counter[name] for name in VERDICTS}
            for (section, case), counter in self.counts.items()
        ]
        return {"rows": rows, "notes": self.notes} | {verdict: self.total(verdict) for verdict in VERDICTS}


def kill_round(lab: Lab, tally: Tally, name: str) -> int:
    """Kills a job and starts it again, up to MAX_KILLS times; returns the number of kills."""
    job, stages = JOBS[name], []
    with lab.scratch() as folder:
        out = folder / "out"
        for _ in range(lab.random.randint(1, MAX_KILLS)):
            stage = lab.random.choice(("", *job.stages))
            process = lab.start(name, out)
            wait_for(process, stage.format(out=out, above=folder))
            time.sleep(lab.random.uniform(0, STAGE_SECONDS if stage else lab.seconds[name]))
            process.kill()
            process.communicate()
            if process.returncode == -signal.SIGKILL:
                stages.append(stage.format(out=name, above="") or "any")
        done = lab.finish(lab.start(name, out))
        left = [path.name for path in folder.iterdir() if path.name != "out" and path.suffix != ".vocab"]
        note = f"after {len(stages)} kills ({', '.join(stages)})"
        if done.status != 0 or left:
            verdict, note = "lost", f"{note}: status {done.status}, left {left}: {done.error[-1000:]}"
        else:
            verdict = "survived" if lab.digest(name, out) == lab.digests[name] else "silent"
    for _ in stages:
        tally.add("kills", name, verdict, note)
    return len(stages)


def wait_for(process: subprocess.Popen[str], pattern: str) -> None:
    """Waits until a file matches a pattern, or the process ends."""
    path = pathlib.Path(pattern)
    while pattern and process.poll() is None and not any(path.parent.glob(path.name)):
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, free_bytes: int) -> Iterator[Callable[[], None] | None]:
    """Mounts a disk with little space in a folder; yields what frees more, or None if mounting is not permitted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={free_bytes}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def disk_round(lab: Lab, tally: Tally, name: str, share: float) -> None:
    """Runs a job with space for a share of its output, then again with enough."""
    reference = lab.reference(name)
    files = [reference] if reference.is_file() else [path for path in reference.rglob("*") if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    num_blocks = sum(-(-size // BLOCK_BYTES) for size in sizes)
    with lab.scratch() as folder, small_disk(folder, max(1, int(share * num_blocks)) * BLOCK_BYTES) as free:
        out = folder / "out"
        first = lab.finish(lab.start(name, out, None if free else max(1, int(share * max(sizes)))))
        note = f"with space for {share:.0%}: {first.error[-1000:]}"
        if first.status == 0:  # there was enough
            same = lab.digest(name, out) == lab.digests[name]
            tally.add("disks", name, "survived" if same else "silent", f"with space for {share:.0%}, it succeeds")
            return
        half_written = out.exists() and not JOBS[name].kept
        named = first.is_refusal() and (str(folder) in first.last_line)
        if free:
            free()
        second = lab.finish(lab.start(name, out))
        if half_written or not named or second.status != 0:
            again = f"; again, status {second.status}: {second.error[-500:]}" if second.status else ""
            tally.add("disks", name, "lost", f"{note}{', half-written' * half_written}{again}")
            return
        same = lab.digest(name, out) == lab.digests[name]
        tally.add("disks", name, "survived" if same else "silent", note)


def writers_round(lab: Lab, tally: Tally, name: str) -> None:
    """Starts a job several times at once; one must win, and the others be refused."""
    with lab.scratch() as folder:
        out = folder / "out"
        processes = [lab.start(name, out) for _ in range(NUM_WRITERS)]
        done = [lab.finish(process) for process in processes]
        winners = [one for one in done if one.status == 0]  # more than one if one starts when another has ended
        polite = all(one.is_refusal() for one in done if one.status != 0)
        note = " | ".join(f"status {one.status}: {one.last_line}" for one in done)
        left = [path.name for path in folder.iterdir() if path.name != "out" and path.suffix != ".vocab"]
        if not winners or not polite or left:
            tally.add("writers", name, "lost", f"{note}; left {left}")
        else:
            same = lab.digest(name, out) == lab.digests[name]
            tally.add("writers", name, "survived" if same else "silent", note)


def damage(path: pathlib.Path, how: str, drawn: random.Random) -> bool:
    """Damages a file; returns whether it has changed."""
    content = path.read_bytes()
    if how == "deleted":
        path.unlink()
        return True
    place = drawn.randrange(len(content)) if content else 0
    if how == "cut short":
        path.write_bytes(content[:place])
    elif content:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << drawn.randrange(8)]) + content[place + 1 :])
    return path.read_bytes() != content


def reading_commands(run_dir: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """Returns command lines that read a run directory; the last one changes it."""
    return {
        "infer": f"infer --checkpoint {run_dir} --input lines.txt --output {folder / 'rows'} --max_new_tokens 4",
        "eval": f"eval --checkpoint {run_dir} --json",
        "runs": f"runs {run_dir} --json",
        "train": f"train --config tiny.yaml --run_dir {run_dir} --train.num_steps {NUM_STEPS + MORE_STEPS}",
    }


def numbers(lab: Lab, name: str, done: Done, run_dir: pathlib.Path, folder: pathlib.Path) -> Digest:
    """Returns what a command of `reading_commands` found."""
    if name == "infer":
        return bytes_of(folder / "rows")
    if name in ("eval", "runs"):
        found = json.loads(done.out)
        fields = found if name == "eval" else found[0] if found else {}
        return {key: value for key, value in fields.items() if key not in ("checkpoint", "run", "written")}
    with contextlib.suppress(ValueError):
        starts = json.loads((run_dir / "environment.json").read_text())["starts"][:-1]  # without that of `done`
        status = lab.ask(f"convert {run_dir} {folder / 'model'}").status
        return [losses(run_dir), starts, status, bytes_of(folder / "model")]
    return "its record cannot be read"


def damage_round(lab: Lab, tally: Tally, file: str, how: str, expected: dict[str, Digest]) -> None:
    """Damages a file of a copy of the run directory, and reads that with each command."""
    case = f"{how}: {file.split('/')[0] if '/' in file else file}"
    for name in expected:
        with lab.scratch() as folder:
            run_dir = folder / "run"
            shutil.copytree(lab.reference("train"), run_dir)
            if not damage(run_dir / file, how, lab.random):
                continue
            done = lab.ask(reading_commands(run_dir, folder)[name])
            if done.status == 0:
                is_named = str(run_dir / file) in done.error + done.out
                same = is_named or numbers(lab, name, done, run_dir, folder) == expected[name]
                verdict = "survived" if same else "silent"
            else:
                verdict = "survived" if done.is_refusal() and str(folder) in done.error else "lost"
            tally.add("damage", case, verdict, f"{name}, {file} {how}: {done.error[-1000:] or done.out[-500:]}")


def undamaged(lab: Lab) -> dict[str, Digest]:
    """Returns the numbers of each command of `reading_commands` on the whole run."""
    found = {}
    for name in reading_commands(lab.folder, lab.folder):
        with lab.scratch() as folder:
            shutil.copytree(lab.reference("train"), folder / "run")
            done = lab.ask(reading_commands(folder / "run", folder)[name])
            if done.status != 0:
                raise SystemExit(f"{name} fails undisturbed: {done.error}")
            found[name] = numbers(lab, name, done, folder / "run", folder)
    return found


def trials(lab: Lab, tally: Tally, options: argparse.Namespace) -> Iterator[Callable[[], object]]:
    """Yields the trials of each section, in random order."""
    names = ["train", "infer"] if options.short else list(JOBS)
    if "writers" in options.sections:
        for name in names:
            yield lambda name=name: writers_round(lab, tally, name)
    if "disks" in options.sections:
        for name in names:
            for share in (lab.random.uniform(0, 1.5),) if options.short else (0.0, 0.2, 0.5, 0.8, 0.95):
                yield lambda name=name, share=share: disk_round(lab, tally, name, share)
    if "damage" in options.sections:
        files = sorted(bytes_of(lab.reference("train")))
        cases = [(file, how) for file in files for how in ("flipped", "cut short", "deleted")]
        lab.random.shuffle(cases)
        expected = undamaged(lab)
        for file, how in cases[:8] if options.short else cases:
            yield lambda file=file, how=how: damage_round(lab, tally, file, how, expected)
    if "kills" in options.sections:
        kills = 0
        while kills < options.rounds:
            name = lab.random.choice(["train"] * 3 + names)  # which has the most to lose
            yield lambda name=name: setattr(options, "killed", kill_round(lab, tally, name))
            kills += options.killed


def main() -> int:
    """Tries everything; returns 1 if something was lost or silent."""
    parser = argparse.ArgumentParser(description="Kills, fills disks, damages files and starts writers together.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, help="number of kills; 100, or 5 with --short")
    parser.add_argument("--seconds", type=float, default=3600, help="no trial begins after this time")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--short", action="store_true", help="try a sample of everything")
    parser.add_argument("--json", metavar="FILE", help="also write the table and the notes as JSON")
    options = parser.parse_args()
    options.rounds = options.rounds if options.rounds is not None else 5 if options.short else 100
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        lab = Lab(pathlib.Path(folder), options.seed)
        try:
            lab.prepare(["train", "infer"] if options.short else JOBS)
            end = time.monotonic() + options.seconds
            for trial in trials(lab, tally, options):
                if time.monotonic() > end:
                    print("out of time: the table is of what was tried", file=sys.stderr)
                    break
                trial()
        finally:
            lab.close()
    print(tally.table())
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(tally.as_json(), indent=2) + "\n")
    return 1 if tally.total("lost") or tally.total("silent") else 0


if __name__ == "__main__":
    sys.exit(main())
