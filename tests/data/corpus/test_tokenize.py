"""Tests t5x_lite/data/corpus/tokenize.py"""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.data.corpus import tokenize as preparation_module
from t5x_lite.data.corpus.open import open_corpora
from t5x_lite.data.corpus.prepare import prepare_text
from t5x_lite.data.corpus.tokenize import PortionTokenizer, Preparation, evenly_spread, tokenize_portions
from t5x_lite.data.sources.base import InMemory
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.paths import ROOT

BYTES = TokenizerConfig(kind="bytes")
TEXTS = [f"document {i} " + "word " * (i % 5) for i in range(47)]


@pytest.fixture
def task(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return TaskConfig(source=str(tmp_path / "a.jsonl"), min_characters=5, eval_percent=20.0, tokenizer=BYTES)


def prepared(task, directory, **options):
    ByteTokenizer().save(directory) if directory.is_dir() else (directory.mkdir(), ByteTokenizer().save(directory))
    preparation = Preparation(task, directory, directory)
    portions = preparation.portions(options.pop("num_shards", 3))
    return preparation, portions, tokenize_portions(preparation, portions, **options)


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def test_portions_cover_every_record_once(task, tmp_path):
    portions = Preparation(task, tmp_path, tmp_path).portions(5)
    assert [portion.begin for portion in portions] == [0, 9, 18, 28, 37]
    assert [portion.end for portion in portions] == [9, 18, 28, 37, 47]


def test_there_are_no_more_portions_than_records(task, tmp_path):
    assert len(Preparation(task, tmp_path, tmp_path).portions(1_000)) == 47


def test_the_number_of_portions_depends_on_the_amount_of_text(task, tmp_path, monkeypatch):
    preparation, characters = Preparation(task, tmp_path, tmp_path), sum(map(len, TEXTS))
    assert len(preparation.portions()) == 1
    monkeypatch.setattr(preparation_module, "SHARD_CHARACTERS", characters // 7)
    assert len(preparation.portions()) in (7, 8)
    monkeypatch.setattr(preparation_module, "MAX_SHARDS", 4)
    assert len(preparation.portions()) == 4


def test_a_held_out_source_has_its_own_portions(task, tmp_path):
    own = dataclasses.replace(task, eval_source=task.source)
    portions = Preparation(own, tmp_path, tmp_path).portions(2)
    assert [(portion.field, portion.splits) for portion in portions] == [
        ("source", ("train",)),
        ("source", ("train",)),
        ("eval_source", ("eval",)),
        ("eval_source", ("eval",)),
    ]


def test_the_stream_does_not_depend_on_the_number_of_shards(task, tmp_path):
    streams = []
    for num_shards in (1, 4):
        directory = tmp_path / str(num_shards)

        def make(preparation, count=num_shards):
            return tokenize_portions(preparation, preparation.portions(count))

        prepare_text(resolve_tasks(task), directory, tokenize=make)
        corpus = open_corpora(resolve_tasks(task), directory, directory)[""]
        for split in (corpus.train, corpus.eval):
            streams.append(split.tokens.read(np.array([0]), np.array([len(split.tokens)]))[0].tolist())
            streams.append(split.ends_EF.tolist())
    assert streams[:4] == streams[4:]


def test_finished_portions_are_not_tokenised_again(task, tmp_path, monkeypatch):
    preparation, portions, parts = prepared(task, tmp_path / "run")
    monkeypatch.setattr(PortionTokenizer, "tokenize", lambda *_: pytest.fail("made again"))
    assert tokenize_portions(preparation, portions) == parts


def test_damaged_or_different_portions_are_tokenised_again(task, tmp_path):
    preparation, portions, parts = prepared(task, tmp_path / "run")
    whole = contents(tmp_path / "run")
    shard = tmp_path / "run" / "train-00001-of-00003.array_record"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert preparation.read_part(portions[0]) == parts[0]
    assert preparation.read_part(portions[1]) is None
    assert preparation.read_part(portions[2]._replace(end=40)) is None
    assert tokenize_portions(preparation, portions) == parts
    assert contents(tmp_path / "run") == whole


def test_progress_is_reported(task, tmp_path):
    told = []
    preparation, portions, _ = prepared(task, tmp_path / "run", progress=lambda *counts: told.append(counts))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    preparation.part_path(portions[1]).unlink()
    told.clear()
    tokenize_portions(preparation, portions, progress=lambda *counts: told.append(counts))
    assert told == [(2, 3), (3, 3)]


def test_unused_records_are_counted_in_their_portion(task, tmp_path):
    with open(tmp_path / "a.jsonl", "a") as file:
        file.write('{"text": "x"}\n{broken\n{also broken\n')
    _, _, parts = prepared(dataclasses.replace(task, bad_records="skip"), tmp_path / "run", num_shards=2)
    assert [part["num_short"] for part in parts] == [0, 1]
    assert [part["num_skipped"] for part in parts] == [0, 2]
    assert "a.jsonl line 49 is not valid JSON" in parts[1]["first_skipped"][0]
    assert sum(part["num_characters"] for part in parts) == sum(map(len, TEXTS))


def test_a_preparation_is_pickled_without_its_open_sources(task, tmp_path):
    preparation = Preparation(task, tmp_path, tmp_path)
    preparation.open("source")
    assert len(pickle.dumps(preparation)) < 2_000
    assert len(pickle.loads(pickle.dumps(preparation)).open("source").records) == 47


def test_records_are_spread_evenly_over_a_source():
    assert evenly_spread(InMemory(range(10), "a"), 4) == [0, 2, 5, 7]
    assert evenly_spread(InMemory(range(3), "a"), 4) == [0, 1, 2]


KILLED = """
import sys
from t5x_lite.cli import main
from t5x_lite.data.task_specs import resolve_tasks

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_preparation_killed_twice_ends_with_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(map(chr, rng.integers(97, 123, rng.integers(2, 9)))) for _ in range(3_000)]
    with open(tmp_path / "a.jsonl", "w") as file:
        for _ in range(1_500):
            file.write(json.dumps({"text": " ".join(rng.choice(words, 1_200))}) + "\n")
    (tmp_path / "script.py").write_text(KILLED)
    command = [sys.executable, "-W", "error", str(tmp_path / "script.py"), "data", "prepare", "--run_dir", "unused"]
    command += ["--task.source", str(tmp_path / "a.jsonl"), "--task.tokenizer.kind", "bytes"]
    command += ["--num_shards", "24", "--num_workers", "2", "--output"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(name, **options):
        return subprocess.Popen(
            [*command, str(tmp_path / name)], env=environment, stderr=subprocess.PIPE, text=True, **options
        )

    undisturbed = run("whole")
    assert undisturbed.communicate()[1].count("Traceback") == 0
    assert undisturbed.returncode == 0
    for parts in (3, 11):
        victim = run("killed", start_new_session=True)
        while len(list((tmp_path / "killed" / "parts").glob("*.json"))) < parts:
            assert victim.poll() is None, victim.communicate()[1]
            time.sleep(0.02)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()
        assert len(list((tmp_path / "killed" / "parts").glob("*.json"))) < 24
    last = run("killed")
    assert last.communicate()[1].count("Traceback") == 0
    assert last.returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert [path.name for path in (tmp_path / "killed").iterdir() if path.is_dir()] == []
