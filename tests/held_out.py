"""A run directory of an untrained model, and held-out examples to measure it on."""

import dataclasses
import json
import pathlib

from t5x_lite.checkpoints.orbax import Checkpoints
from t5x_lite.config import RunConfig, TaskConfig, TokenizerConfig, TrainConfig
from t5x_lite.config.commands import PrepareConfig
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.training.run_dir import RunDirectory
from tests import tiny

MODEL = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
# Lengths that span corruption has too, so that most tests share one compiled program.
STEP, BATCH_SIZE, INPUTS_LENGTH, TARGETS_LENGTH = 12, 5, 29, 8
TRAIN = TrainConfig(batch_size=BATCH_SIZE, inputs_length=INPUTS_LENGTH, targets_length=TARGETS_LENGTH)
BYTES = TokenizerConfig(kind="bytes")
WORDS = ["one", "two", "six", "ten", "eleven", "twelve", "forty"]  # two batches, the second cut short
TEXT = "The quick brown fox jumps over the lazy dog, and number {} is the one that does. "


def write_lines(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records))
    return str(path)


def make_run(folder: pathlib.Path) -> pathlib.Path:
    """Writes sources, and a run directory as training leaves it, into a folder; returns the folder."""
    write_lines(folder / "train.jsonl", [{"n": str(n), "word": "many"} for n in range(3)])
    write_lines(folder / "held.jsonl", [{"n": str(n), "word": word} for n, word in enumerate(WORDS)])
    write_lines(folder / "text.jsonl", [{"text": TEXT.format(n)} for n in range(60)])
    cfg = config(folder)
    run_dir = folder / "run"
    with RunDirectory(run_dir) as directory:
        prepare_corpora(resolve_tasks(cfg.task), run_dir)
        directory.record(cfg, 0)
    checkpoints = Checkpoints(run_dir / "checkpoints", keep=1)
    checkpoints.save(STEP, {"model": tiny.model(MODEL)}, {"model": dataclasses.asdict(MODEL)})
    checkpoints.close()
    return folder


def pairs(folder, **fields):
    held = {"source": str(folder / "train.jsonl"), "eval_source": str(folder / "held.jsonl")}
    return TaskConfig(**held | {"inputs": "spell: {n}", "targets": "{word}", "tokenizer": BYTES} | fields)


def text(folder, **fields):
    task = {"source": str(folder / "text.jsonl"), "min_characters": 9, "eval_percent": 30.0, "tokenizer": BYTES}
    return TaskConfig(**task | fields)


def config(folder, task=None, **train):
    return RunConfig(run_dir=str(folder / "run"), task=task or pairs(folder), train=dataclasses.replace(TRAIN, **train))


def prepared(folder, tmp_path, **fields):
    from t5x_lite.commands import data_prepare

    data_prepare.run(pairs(folder, **fields), PrepareConfig(output=str(tmp_path / "made"), num_workers=0))
    return TaskConfig(prepared=str(tmp_path / "made"), metrics=("accuracy",))
