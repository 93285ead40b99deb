"""Tests t5x_lite/training/epochs.py"""

import dataclasses
import json
import pathlib

import pytest

from t5x_lite.config import DataConfig, MeshConfig, MixtureConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import make_examples
from t5x_lite.files.run_config import read_run_config
from t5x_lite.training.epochs import with_num_steps
from t5x_lite.training.loop import train
from t5x_lite.training.resolve import resolve_run
from tests import runs


@pytest.fixture
def pairs(tmp_path):
    """A run of 2.5 epochs over 23 short pairs, in batches of 8."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"q": f"a{i}", "a": f"b{i}"}) + "\n" for i in range(23)))
    task = TaskConfig(
        source=str(path), eval_source=str(path), inputs="{q}", targets="{a}", tokenizer=TokenizerConfig(kind="bytes")
    )
    cfg = runs.config(tmp_path / "run", mesh=MeshConfig(), num_steps=None, num_epochs=2.5, targets_length=32)
    return dataclasses.replace(cfg, task=task)


def counted(cfg):
    run, run_dir = resolve_run(cfg), pathlib.Path(cfg.run_dir)
    run_dir.mkdir()
    return with_num_steps(run, make_examples(run.examples, prepare_corpora(run.tasks, run_dir)))


def test_the_steps_of_epochs_are_rounded_up(pairs):
    run = counted(pairs)
    assert (run.config.train.num_steps, run.config.train.num_epochs) == (8, None)  # 2.5 * 23 / 8 is 7.2
    assert run.notes == ("train.num_epochs 2.5 of 23 examples in batches of 8 is train.num_steps 8",)


def test_packed_examples_count_by_their_rows(pairs):
    run = counted(dataclasses.replace(pairs, data=DataConfig(packing="first_fit")))
    (note,) = run.notes
    num_rows = int(note.split(" of ")[1].split()[0])
    assert num_rows < 23
    assert run.config.train.num_steps == -(-5 * num_rows // 16)
    assert note == (
        f"train.num_epochs 2.5 of {num_rows} rows of packed examples in batches of 8 is train.num_steps "
        f"{run.config.train.num_steps}"
    )


@pytest.mark.parametrize(
    ("task", "mixture"),
    [
        ({"objective": "ul2"}, "task.objective is ul2, a mixture"),
        ({"mixture": MixtureConfig(tasks={"a": TaskConfig(), "b": TaskConfig()})}, "task.mixture is given"),
    ],
)
def test_a_mixture_has_no_epochs(pairs, task, mixture):
    with pytest.raises(ValueError, match=rf"train.num_epochs is 2.5, but {mixture}, whose parts .* give train.num_s"):
        resolve_run(dataclasses.replace(pairs, task=TaskConfig(**task)))


@pytest.mark.slow
def test_a_run_of_epochs_ends_at_their_steps_and_records_them(pairs, capsys):
    cfg = dataclasses.replace(pairs, train=dataclasses.replace(pairs.train, num_epochs=1))
    assert train(cfg).step == 3
    error = capsys.readouterr().err
    assert "\ntrain.num_epochs 1 of 23 examples in batches of 8 is train.num_steps 3\n" in error
    assert "Complete at step 3. Raise train.num_epochs to continue" in error
    recorded = read_run_config(cfg.run_dir)["train"]
    assert (recorded["num_steps"], recorded["num_epochs"]) == (3, None)
    assert train(dataclasses.replace(pairs, train=dataclasses.replace(cfg.train, num_epochs=1.5))).step == 5
    with pytest.raises(ValueError, match=r"^train.num_epochs is 1, or 3 steps, but the run .* is at step 5: use a l"):
        train(cfg)
