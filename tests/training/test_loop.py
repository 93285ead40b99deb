"""Tests t5x_lite/training/loop.py"""

import dataclasses
import functools
import json
import os
import shutil
import signal
import xml.etree.ElementTree as ElementTree

import jax
import numpy as np
import pytest
import yaml

from t5x_lite.checkpoints.load import load
from t5x_lite.config import (
    DataConfig,
    EvalConfig,
    MeshConfig,
    ModelOptions,
    OptimizerConfig,
    TaskConfig,
    TokenizerConfig,
)
from t5x_lite.evaluation.api import evaluate
from t5x_lite.files.metrics_file import read_rows
from t5x_lite.inference.api import generate
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.training import loop, spikes
from t5x_lite.training.program import make_program
from t5x_lite.training.resolve import resolve_run
from tests import runs

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided:UserWarning")  # when read back for comparing


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run: its directory, its results and the number of heartbeats."""
    run_dir, said = tmp_path_factory.mktemp("runs") / "finished", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Watchdog, "heartbeat", lambda watch: said.append(watch))
        return run_dir, loop.train(runs.config(run_dir)), len(said)


def started_like(finished, run_dir):
    """A new run directory with the corpus of the finished run."""
    run_dir.mkdir()
    shutil.copytree(finished[0] / "corpus", run_dir / "corpus")
    for name in (".lock", "vocabulary.json"):
        shutil.copy(finished[0] / name, run_dir / name)
    return run_dir


def assert_same_arrays(run_dir, other_run_dir):
    one, other = runs.arrays(run_dir), runs.arrays(other_run_dir)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_run_directory_has_its_files(finished):
    run_dir, *_ = finished
    names = {path.name for path in run_dir.iterdir()}
    assert {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "checkpoints",
        "corpus",
        "loss.svg",
        "tensorboard",
    } <= names
    ElementTree.parse(run_dir / "loss.svg")
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == ["6", "8"]


def test_every_step_and_evaluation_is_logged(finished):
    run_dir, results, _ = finished
    rows = read_rows(run_dir / "metrics.jsonl")
    trained = [row for row in rows if "loss" in row]
    assert [row["step"] for row in trained] == list(range(1, 9))
    assert {"loss", "tokens_per_second", "seconds_per_step", "mfu", "learning_rate", "grad_norm"} <= trained[0].keys()
    evaluated = [row for row in rows if "eval/loss" in row]
    assert [row["step"] for row in evaluated] == [4, 8]
    assert {"eval/loss", "eval/loss_text", "eval/target_accuracy", "eval/unigram_text"} == results.keys()
    assert {name: evaluated[-1][name] for name in results} == results
    assert 0 < results["eval/unigram_text"] < np.log(256)


PAIRS = {"inputs": "{n} {n}", "targets": "{even} {even}", "labels": ("even", "odd")}


@pytest.mark.parametrize(
    ("architecture", "task", "metrics"),
    [
        *(
            pytest.param(name, task, metrics, marks=pytest.mark.slow)
            for name, task, metrics in [
                ("sequence_classifier", PAIRS | {"targets": "{even}", "metrics": ("accuracy",)}, {"accuracy"}),
                ("prefix_lm", PAIRS | {"metrics": ("accuracy",)}, {"loss_text", "unigram_text", "accuracy"}),
                ("token_classifier", PAIRS | {"metrics": ("accuracy",)}, {"accuracy"}),
                ("masked_lm", {"objective": "masked_lm"}, {"loss_text", "unigram_text"}),
                ("causal_lm", {"objective": "causal_lm"}, {"loss_text", "unigram_text"}),
                ("causal_lm", PAIRS, {"loss_text", "unigram_text"}),
                ("prefix_lm", {"objective": "prefix_lm"}, {"loss_text", "unigram_text"}),
            ]
        ),
    ],
)
def test_every_architecture_trains_resumes_and_predicts(tmp_path, architecture, task, metrics):
    records = [{"text": str(n) * 30, "n": n, "even": ("even", "odd")[n % 2]} for n in range(10, 90)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    cfg = runs.config(tmp_path / "run", num_steps=4, inputs_length=16)
    is_labelled = "classifier" in architecture
    source = {"source": str(tmp_path / "a.jsonl"), "min_characters": 0, "eval_percent": 20.0}
    cfg = dataclasses.replace(
        cfg,
        task=TaskConfig(**source, tokenizer=TokenizerConfig(kind="bytes"), **task),
        model=dataclasses.replace(cfg.model, architecture=architecture),
        train=dataclasses.replace(cfg.train, targets_length=12 if "inputs" in task and not is_labelled else None),
    )
    found = loop.train(cfg)
    always = {"loss", "target_accuracy"} | ({"unigram_labels"} if is_labelled else set())
    assert found.keys() == {f"eval/{name}" for name in metrics | always}
    assert all(np.isfinite(value) for value in found.values())
    loop.train(runs.with_steps(cfg, 6))
    pretrained = load(tmp_path / "run")
    assert (pretrained.step, pretrained.architecture.name) == (6, architecture)
    evaluated = evaluate(tmp_path / "run", cfg, num_batches=cfg.eval.num_batches)
    newest = read_rows(tmp_path / "run" / "metrics.jsonl")[-1]
    assert evaluated["eval/loss"] == pytest.approx(newest["eval/loss"], rel=1e-4)
    (prediction,) = generate(pretrained, ["17 17"], batch_size=2, max_new_tokens=3)
    assert set(prediction.split()) <= {"even", "odd"} or not is_labelled


def test_the_watchdog_gets_a_heartbeat_from_every_step_and_evaluation(finished):
    _, _, num_times = finished
    assert num_times >= 1 + 8 + 2  # the beginning, steps, and batches of two evaluations


def test_the_loss_falls(finished):
    losses = [row["loss"] for row in read_rows(finished[0] / "metrics.jsonl") if "loss" in row]
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.slow
def test_a_run_stopped_by_a_signal_resumes_to_the_same_bits(finished, tmp_path, monkeypatch, capsys):
    run_dir = started_like(finished, tmp_path / "stopped")
    add = loop.StepLogger.add

    def signal_at_step_five(self, step, metrics):
        add(self, step, metrics)
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop.StepLogger, "add", signal_at_step_five)
        stopped = loop.train(runs.config(run_dir))
    assert stopped["eval/loss"] > 0  # of step 4
    assert (stopped.step, stopped.is_complete) == (5, False)
    assert "Stopped by SIGTERM at step 5, saved. Run the same command again to resume" in capsys.readouterr().err
    assert (run_dir / "checkpoints" / "5").is_dir()
    resumed = loop.train(runs.config(run_dir))
    assert resumed == finished[1]
    assert (resumed.step, resumed.is_complete) == (8, True)
    assert_same_arrays(run_dir, finished[0])
    steps = [row["step"] for row in read_rows(run_dir / "metrics.jsonl") if "loss" in row]
    assert steps == list(range(1, 9))


@pytest.mark.slow
def test_a_run_killed_between_checkpoints_resumes_to_the_same_bits(finished, tmp_path, monkeypatch):
    run_dir = started_like(finished, tmp_path / "cut")

    def cut(self, step, metrics):
        if step == 5:
            raise KeyboardInterrupt  # as far as the files go, what a kill does: nothing more is written

    with monkeypatch.context() as patch:
        patch.setattr(loop.StepLogger, "add", cut)
        with pytest.raises(KeyboardInterrupt):
            loop.train(runs.config(run_dir))
    loop.train(runs.config(run_dir))
    assert_same_arrays(run_dir, finished[0])


def test_the_checkpoint_of_a_step_is_saved_before_its_evaluation(finished, tmp_path, monkeypatch):
    run_dir = started_like(finished, tmp_path / "cut")
    cfg = dataclasses.replace(runs.config(run_dir), eval=EvalConfig(every_steps=3, num_batches=2))

    def cut(*_):
        raise KeyboardInterrupt  # as far as the files go, what a kill does: nothing more is written

    with monkeypatch.context() as patch:
        patch.setattr(loop.Evaluation, "__call__", cut)
        with pytest.raises(KeyboardInterrupt):
            loop.train(cfg)
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["3"]
    loop.train(cfg)  # makes up for the evaluation
    rows = read_rows(run_dir / "metrics.jsonl")
    assert [row["step"] for row in rows if "eval/loss" in row] == [3, 6, 8]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 9))
    assert {name: rows[-1][name] for name in finished[1]} == finished[1]


@pytest.mark.slow
def test_a_run_from_before_there_were_revisions_goes_on_as_it_would_have(finished, tmp_path, capsys):
    whole, cut = (started_like(finished, tmp_path / name) for name in ("whole", "cut"))
    loop.train(dataclasses.replace(runs.config(whole), revision=1))
    loop.train(dataclasses.replace(runs.config(cut, num_steps=4), revision=1))
    recorded = yaml.safe_load((cut / "config.yaml").read_text())
    del recorded["revision"], recorded["optimizer"]["factored"]
    (cut / "config.yaml").write_text(yaml.safe_dump(recorded))
    loop.train(runs.config(cut))
    assert "revision 1 of the rules" in capsys.readouterr().err
    loop.train(runs.config(cut))  # what is recorded now is found again
    assert_same_arrays(cut, whole)
    assert any(
        not np.array_equal(one, other)
        for one, other in zip(runs.arrays(whole).values(), runs.arrays(finished[0]).values(), strict=True)
    )


@pytest.mark.slow
def test_worker_processes_change_nothing(finished, tmp_path):
    run_dir = started_like(finished, tmp_path / "workers")
    loop.train(dataclasses.replace(runs.config(run_dir), data=DataConfig(num_workers=2)))
    assert_same_arrays(run_dir, finished[0])


def test_a_finished_run_is_not_changed(finished, capsys):
    before = (finished[0] / "metrics.jsonl").read_text()
    assert loop.train(runs.config(finished[0])) == {}
    assert "Complete at step 8" in capsys.readouterr().err
    assert (finished[0] / "metrics.jsonl").read_text() == before


def test_a_finished_run_is_not_recorded_as_trained_with_another_config(finished):
    cfg = runs.config(finished[0])
    changed = dataclasses.replace(cfg, optimizer=dataclasses.replace(cfg.optimizer, learning_rate=0.1))
    before = (finished[0] / "config.yaml").read_text()
    for allow_changes, problem in ((False, "--allow_changes"), (True, "is complete at step 8, so nothing would be")):
        with pytest.raises(ValueError, match=rf"^optimizer.learning_rate is 0.1, but .* with 0.02.*{problem}"):
            loop.train(changed, allow_changes=allow_changes)
    assert (finished[0] / "config.yaml").read_text() == before


@pytest.mark.slow
def test_a_change_that_is_allowed_is_recorded_with_its_step(finished, tmp_path):
    run_dir = started_like(finished, tmp_path / "changed")
    cfg = runs.config(run_dir)
    loop.train(cfg)
    longer = runs.with_steps(dataclasses.replace(cfg, seed=7), 9)
    assert loop.train(longer, allow_changes=True).is_complete
    recorded = yaml.safe_load((run_dir / "config.yaml").read_text())
    changes = [(row["step"], row["field"], row["old"], row["new"]) for row in recorded["history"]]
    assert changes == [(8, "seed", 0, 7), (8, "train.num_steps", 8, 9)]
    starts = json.loads((run_dir / "environment.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 8]


def test_another_model_in_the_same_directory_is_refused(finished):
    cfg = dataclasses.replace(runs.config(finished[0]), model=ModelOptions(emb_dim=48))
    before = runs.arrays(finished[0]).keys()
    with pytest.raises(ValueError, match=r"model.emb_dim is 48, but the run in .* was started with 16"):
        loop.train(cfg)
    assert runs.arrays(finished[0]).keys() == before


@pytest.mark.slow
def test_divergence_leaves_the_checkpoint_from_before_and_the_way_back_to_it(finished, tmp_path, capsys):
    run_dir = started_like(finished, tmp_path / "diverged")
    cfg = runs.config(run_dir, num_steps=3)
    loop.train(cfg)
    fast = OptimizerConfig(learning_rate=1e30, schedule="constant", warmup_steps=0)
    cfg = dataclasses.replace(runs.config(run_dir, num_steps=30, max_nonfinite_steps=13), optimizer=fast)
    with pytest.raises(FloatingPointError, match=r"last 13 steps up to step 17 .*--from_step 3 .*learning_rate 0.01"):
        loop.train(cfg, allow_changes=True)
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["3"]
    assert [row["nonfinite_steps"] for row in read_rows(run_dir / "metrics.jsonl") if "loss" in row][-1] == 13
    loop.train(runs.config(run_dir), from_step=3, allow_changes=True)
    assert_same_arrays(run_dir, finished[0])
    assert [row["step"] for row in read_rows(run_dir / "metrics.jsonl") if "loss" in row] == list(range(1, 9))
    assert "18 rows of metrics.jsonl after it are now in" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_whose_last_update_is_skipped_is_not_complete(finished, tmp_path):
    run_dir = started_like(finished, tmp_path / "diverged")
    fast = OptimizerConfig(name="adamw", learning_rate=1e38, schedule="constant", warmup_steps=0)
    cfg = dataclasses.replace(runs.config(run_dir, num_steps=2), optimizer=fast)
    with pytest.raises(FloatingPointError, match=r"gradients of the last step, up to step 2 .* raise train.num_steps"):
        loop.train(cfg)
    assert not list((run_dir / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_checkpoint_from_before_the_loss_rose_is_spared(finished, tmp_path):
    run_dir = started_like(finished, tmp_path / "worse")
    loop.train(runs.config(run_dir, num_steps=3))
    fast = OptimizerConfig(learning_rate=3.0, schedule="constant", warmup_steps=0)
    loop.train(dataclasses.replace(runs.config(run_dir, num_steps=10), optimizer=fast), allow_changes=True)
    assert sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir()) == [3, 9, 10]


@pytest.mark.slow
def test_the_spike_guard_resumes_to_the_same_bits_and_may_be_turned_on_later(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(spikes, "MIN_NORMS", 2)
    whole, cut, late = (started_like(finished, tmp_path / name) for name in ("whole", "cut", "late"))
    fast = OptimizerConfig(learning_rate=1.0, schedule="constant", warmup_steps=0)

    def config(run_dir, factor=1.01, **options):
        cfg = runs.config(run_dir, skip_spikes_above=factor, **options)
        return dataclasses.replace(cfg, optimizer=fast)

    loop.train(config(whole))
    loop.train(config(cut, num_steps=5))
    loop.train(config(cut))
    assert_same_arrays(cut, whole)
    counts = [row["spike_steps"] for row in read_rows(cut / "metrics.jsonl") if "loss" in row]
    assert counts == [row["spike_steps"] for row in read_rows(whole / "metrics.jsonl") if "loss" in row]
    assert 0 < counts[-1] < 7
    loop.train(config(late, factor=None, num_steps=5))
    loop.train(config(late), allow_changes=True)
    loop.train(config(late, factor=None, num_steps=9), allow_changes=True)  # and off again


@pytest.mark.slow
def test_a_profile_is_a_trace_of_a_few_steps(finished, tmp_path):
    run_dir = started_like(finished, tmp_path / "profiled")
    loop.train(runs.config(run_dir), profile=True)
    assert list((run_dir / "profile").rglob("*.xplane.pb"))


@functools.cache
def losses_on(mesh, run_dir, devices=None, dropout_rate=0.1, num_microbatches=1):
    """The losses of ten steps on a mesh, and the state after them."""
    cfg = runs.config(run_dir, mesh=mesh, num_microbatches=num_microbatches)
    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, dropout_rate=dropout_rate))
    run = resolve_run(cfg)

    def program(vocab_size, ids, num_steps):
        assert num_steps == cfg.train.num_steps
        return make_program(run, make_mesh(mesh, devices), vocab_size, ids)

    job = loop.make_job(run, program, loop.prepare_corpora(run.tasks, run_dir))
    batches = loop.train_batches(job.examples.train, batch_size=8, data=cfg.data)
    with jax.set_mesh(job.program.mesh):
        state, losses = job.program.init(), []
        for batch, _ in zip(loop.device_batches(batches, job.program.mesh), range(10), strict=False):
            state, metrics = job.program.step(state, batch)
            losses.append(float(metrics["loss"]))
    batches.close()
    return losses, state


@pytest.mark.slow
@pytest.mark.parametrize("num_microbatches", [2, 4])
def test_microbatches_do_not_change_the_loss(num_microbatches, finished):
    # On one device and without dropout, whose masks are drawn for each microbatch.
    whole, split = (
        losses_on(MeshConfig(), finished[0], devices=tuple(jax.devices()[:1]), dropout_rate=0.0, num_microbatches=num)[
            0
        ]
        for num in (1, num_microbatches)
    )
    np.testing.assert_allclose(split, whole, rtol=1e-5)
