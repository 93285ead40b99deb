"""Tests t5x_lite/training/changed_fields.py"""

import dataclasses
import json

import pytest
import yaml

from t5x_lite.config import (
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    MeshConfig,
    MixtureConfig,
    ModelOptions,
    RunConfig,
    TaskConfig,
    TokenizerConfig,
    TrainConfig,
)
from t5x_lite.config.defaults import PRETRAINING, filled
from t5x_lite.config.plain import as_plain
from t5x_lite.files.checksum import with_first_line
from t5x_lite.training.changed_fields import changed_fields, check_changes, with_history

MIXTURE = MixtureConfig(tasks={"a": TaskConfig(source="a"), "b": TaskConfig(source="b")}, rates={"a": 2.0, "b": 1.0})
BEGAN = filled(RunConfig(run_dir="run", seed=3, revision=2, train=TrainConfig(num_steps=9, batch_size=16)), PRETRAINING)


def optimizer(**changes):
    return dataclasses.replace(BEGAN.optimizer, **changes)


@pytest.fixture
def run_dir(tmp_path):
    """A run with results."""
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    return tmp_path


def record(run_dir, fields):
    (run_dir / "config.yaml").write_text(yaml.safe_dump(fields))


def record_and_edit(run_dir, old, new):
    """As if somebody had edited the config that a run wrote."""
    written = with_first_line(yaml.safe_dump(as_plain(BEGAN)))
    (run_dir / "config.yaml").write_bytes(written.replace(old, new))


def test_an_edited_config_is_refused_before_its_values_are_believed(run_dir):
    record_and_edit(run_dir, b"seed: 3", b"seed: 4")
    for seed in (3, 4):
        with pytest.raises(ValueError, match=r"config.yaml was changed .*: restore it, or .* by --allow_changes"):
            check_changes(run_dir, as_plain(dataclasses.replace(BEGAN, seed=seed)), allow_changes=False)


def test_an_edited_config_is_continued_with_changes_allowed_and_recorded(run_dir):
    record_and_edit(run_dir, b"seed: 3", b"seed: 4")
    asked = as_plain(dataclasses.replace(BEGAN, seed=4))
    check_changes(run_dir, asked, allow_changes=True)
    (change,) = with_history(run_dir, asked, 6)["history"]
    assert (change["step"], change["field"]) == (6, "config.yaml")


def test_a_config_as_a_run_wrote_it_is_not_edited(run_dir):
    record_and_edit(run_dir, b"", b"")
    check_changes(run_dir, as_plain(BEGAN), allow_changes=False)
    assert "history" not in with_history(run_dir, as_plain(BEGAN), 6)


def test_an_unchanged_config_has_no_changes(run_dir):
    record(run_dir, as_plain(BEGAN))
    assert changed_fields(run_dir, as_plain(BEGAN)) == []


FREE = [
    {"run_dir": "moved"},
    {"train": dataclasses.replace(BEGAN.train, num_steps=90, log_every_steps=2, remat="full", max_nonfinite_steps=2)},
    {"eval": EvalConfig(every_steps=7)},
    {"checkpoint": CheckpointConfig(every_steps=7, keep=1)},
    {"mesh": MeshConfig(data=2, fsdp=-1)},
    {"data": DataConfig(num_workers=4, prefetch_batches=1)},
]
DECIDING = [
    ({"seed": 4}, "seed is 4, but the run in .* was started with 3"),
    ({"task": TaskConfig(noise_density=0.5)}, "task.noise_density is 0.5, but .* with 0.15"),
    ({"model": ModelOptions(dropout_rate=0.5)}, "model.dropout_rate is 0.5, but .* with null"),
    ({"model": ModelOptions(pretrained="/b")}, 'model.pretrained is "/b", but .* with null'),
    ({"train": dataclasses.replace(BEGAN.train, batch_size=8)}, "train.batch_size is 8, but .* with 16"),
    ({"train": dataclasses.replace(BEGAN.train, num_microbatches=2)}, "train.num_microbatches is 2, but .* with 1"),
    ({"train": dataclasses.replace(BEGAN.train, inputs_length=64)}, "train.inputs_length is 64, but .* with 512"),
    ({"train": dataclasses.replace(BEGAN.train, z_loss=0.0)}, "train.z_loss is 0.0, but .* with 0.0001"),
    (
        {"optimizer": optimizer(learning_rate=0.1)},
        "optimizer.learning_rate is 0.1, but .* with 0.01",
    ),
    (
        {"optimizer": optimizer(schedule="constant")},
        'optimizer.schedule is "constant", but .* with "rsqrt"',
    ),
    ({"eval": EvalConfig(num_batches=3)}, "eval.num_batches is 3, but .* with 20"),
    ({"data": DataConfig(packing="best_fit")}, 'data.packing is "best_fit", but .* with "none"'),
]


@pytest.mark.parametrize("asked", FREE, ids=lambda asked: next(iter(asked)))
def test_what_does_not_decide_the_numbers_may_change(run_dir, asked):
    record(run_dir, as_plain(BEGAN))
    new = as_plain(dataclasses.replace(BEGAN, **asked))
    assert changed_fields(run_dir, new)
    check_changes(run_dir, new, allow_changes=False)


@pytest.mark.parametrize(("asked", "message"), DECIDING, ids=lambda value: value if isinstance(value, str) else "")
def test_what_decides_the_numbers_changes_only_if_it_is_allowed(run_dir, asked, message):
    record(run_dir, as_plain(BEGAN))
    new = as_plain(dataclasses.replace(BEGAN, **asked))
    with pytest.raises(ValueError, match=rf"^{message}: use the old value or another run_dir, or .* --allow_changes"):
        check_changes(run_dir, new, allow_changes=False)
    check_changes(run_dir, new, allow_changes=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"revision": 1}, "revision is 1, but .* was started with 2"),
        ({"model": ModelOptions(emb_dim=48)}, "model.emb_dim is 48, but .* was started with null"),
        (
            {"optimizer": optimizer(beta1=0.5)},
            "optimizer.beta1 is 0.5, but .* was started with null",
        ),
        ({"task": TaskConfig(tokenizer=TokenizerConfig(kind="bytes"))}, 'task.tokenizer.kind is "bytes", but .* was'),
    ],
)
def test_what_the_checkpoints_cannot_be_used_with_never_changes(run_dir, asked, message):
    record(run_dir, as_plain(BEGAN))
    with pytest.raises(ValueError, match=rf"^{message}.* the checkpoints cannot be used with another one"):
        check_changes(run_dir, as_plain(dataclasses.replace(BEGAN, **asked)), allow_changes=True)


def test_all_changes_are_named_in_one_line(run_dir):
    record(run_dir, as_plain(BEGAN))
    asked = as_plain(dataclasses.replace(BEGAN, seed=4, optimizer=optimizer(weight_decay=0.5)))
    with pytest.raises(ValueError, match=r"^seed is 4, but .* with 3; optimizer.weight_decay is 0.5, not 0.0: use"):
        check_changes(run_dir, asked, allow_changes=False)


def test_fields_that_an_old_run_did_not_record_had_their_defaults(run_dir):
    fields = as_plain(BEGAN)
    del fields["optimizer"]["min_learning_rate"], fields["task"]["objective"], fields["eval"]
    record(run_dir, fields)
    assert changed_fields(run_dir, as_plain(BEGAN)) == []


def test_fields_that_are_left_out_are_changes_too(run_dir):
    began = dataclasses.replace(BEGAN, task=TaskConfig(mixture=MIXTURE))
    record(run_dir, as_plain(began))
    only = dataclasses.replace(BEGAN, task=TaskConfig(mixture=MixtureConfig(tasks={"a": TaskConfig(source="a")})))
    fields = [change.field for change in changed_fields(run_dir, as_plain(only))]
    assert fields == ["task.mixture.tasks.b", "task.mixture.rates"]


def test_a_run_without_results_may_change_at_will(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    record(tmp_path, as_plain(BEGAN))
    asked = as_plain(dataclasses.replace(BEGAN, seed=4, model=ModelOptions(emb_dim=48)))
    check_changes(tmp_path, asked, allow_changes=False)
    assert with_history(tmp_path, asked, 0) == asked
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 5.0}))
    with pytest.raises(ValueError, match="emb_dim"):
        check_changes(tmp_path, asked, allow_changes=True)


def test_results_without_a_config_are_refused(run_dir):
    with pytest.raises(ValueError, match=r"holds the results of a run, but not its config.yaml: restore it, or name"):
        check_changes(run_dir, as_plain(BEGAN), allow_changes=True)


def test_the_history_grows_by_the_changes_and_tells_them(run_dir, capsys):
    record(run_dir, as_plain(BEGAN))
    steps = [dataclasses.replace(BEGAN, seed=4), dataclasses.replace(BEGAN, seed=4, eval=EvalConfig(every_steps=7))]
    for step, cfg in enumerate(steps, start=5):
        record(run_dir, with_history(run_dir, as_plain(cfg), step))
    recorded = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert [{name: value for name, value in row.items() if name != "time"} for row in recorded.pop("history")] == [
        {"step": 5, "field": "seed", "old": 3, "new": 4},
        {"step": 6, "field": "eval.every_steps", "old": 1000, "new": 7},
    ]
    assert recorded == as_plain(steps[-1])
    told = ["From step 5 on: seed from 3 to 4", "From step 6 on: eval.every_steps from 1000 to 7"]
    assert capsys.readouterr().err.splitlines() == told


def test_an_unchanged_run_has_no_history(run_dir):
    record(run_dir, as_plain(BEGAN))
    assert with_history(run_dir, as_plain(BEGAN), 5) == as_plain(BEGAN)


def test_more_steps_are_told_to_change_a_schedule_that_ends_with_them(run_dir, capsys):
    began = dataclasses.replace(BEGAN, optimizer=optimizer(schedule="cosine", warmup_steps=1))
    record(run_dir, as_plain(began))
    longer = dataclasses.replace(began, train=dataclasses.replace(began.train, num_steps=12))
    with_history(run_dir, as_plain(longer), 5)
    assert "the learning rate follows the cosine schedule to the new last step" in capsys.readouterr().err


def test_a_complete_run_is_not_said_to_have_been_trained_with_a_change(run_dir):
    record(run_dir, as_plain(BEGAN))
    with pytest.raises(ValueError, match=r"seed is 4, .*, and is complete at step 9, so nothing would be trained with"):
        with_history(run_dir, as_plain(dataclasses.replace(BEGAN, seed=4)), 9)


def test_fewer_steps_than_were_taken_are_refused(run_dir):
    record(run_dir, as_plain(BEGAN))
    with pytest.raises(ValueError, match=r"^train.num_steps is 9, but the run in .* is at step 11: use a larger one"):
        with_history(run_dir, as_plain(BEGAN), 11)


def test_a_number_of_epochs_is_named_if_it_is_what_was_asked_for(run_dir):
    record(run_dir, as_plain(BEGAN))
    with pytest.raises(ValueError, match=r"^train.num_epochs is 2.5, or 9 steps, but the run in .* is at step 11: use"):
        with_history(run_dir, as_plain(BEGAN), 11, 2.5)
    with pytest.raises(ValueError, match=r"seed is 4, .*: use the old value, or a larger train.num_epochs$"):
        with_history(run_dir, as_plain(dataclasses.replace(BEGAN, seed=4)), 9, 2.5)


@pytest.mark.parametrize(
    ("revision", "null", "meant", "other"),
    [
        (1, {"factored": None}, {"factored": "large"}, {"factored": "stacked"}),
        (2, {"factored": None}, {"factored": "stacked"}, {"factored": "large"}),
        (2, {"name": "adamw", "beta1": None}, {"name": "adamw", "beta1": 0.9}, {"name": "adamw", "beta1": 0.8}),
    ],
)
def test_what_null_stands_for_is_no_change(run_dir, revision, null, meant, other):
    null, meant, other = (
        as_plain(dataclasses.replace(BEGAN, revision=revision, optimizer=optimizer(**changes)))
        for changes in (null, meant, other)
    )
    for old, new in ((null, meant), (meant, null)):
        record(run_dir, old)
        assert changed_fields(run_dir, new) == []
    record(run_dir, null)
    with pytest.raises(ValueError, match="the checkpoints cannot be used with another one"):
        check_changes(run_dir, other, allow_changes=True)
