"""Tests t5x_lite/config/defaults.py"""

import pytest

from t5x_lite.config import ModelOptions, OptimizerConfig, RunConfig, TrainConfig
from t5x_lite.config.defaults import FINE_TUNING, PRETRAINING, defaults_of, filled, filled_optimizer, is_default


def config(*, pretrained="flan", **sections):
    model = ModelOptions(pretrained=pretrained, **sections.pop("model", {}))
    optimizer = OptimizerConfig(**sections.pop("optimizer", {}))
    return RunConfig(run_dir="run", model=model, optimizer=optimizer, train=TrainConfig(**sections.pop("train", {})))


def resolved(cfg):
    """Every field that has a default of its own for fine-tuning, by name."""
    cfg = filled(cfg, defaults_of(cfg))
    return {name: getattr(getattr(cfg, name.split(".")[0]), name.split(".")[1]) for name in FINE_TUNING}


def test_the_defaults_are_those_of_fine_tuning_with_a_pretrained_model_and_of_pretraining_without():
    assert resolved(config()) == {
        "train.num_steps": 10_000,
        "train.batch_size": 16,
        "optimizer.learning_rate": 0.001,
        "optimizer.schedule": "constant",
        "optimizer.warmup_steps": 0,
        "model.dropout_rate": 0.1,
    }
    assert resolved(config(pretrained=None)) == {
        "train.num_steps": 10_000,
        "train.batch_size": 128,
        "optimizer.learning_rate": 0.01,
        "optimizer.schedule": "rsqrt",
        "optimizer.warmup_steps": 10_000,
        "model.dropout_rate": None,
    }


@pytest.mark.parametrize("value", [PRETRAINING, {"train.batch_size": 3, "optimizer.warmup_steps": 7}])
def test_what_is_given_wins_even_if_it_is_the_default_of_pretraining(value):
    given = {}
    for name, one in value.items():
        section, field = name.split(".")
        given.setdefault(section, {})[field] = one
    assert resolved(config(**given)) == {**FINE_TUNING, **value}
    assert resolved(config(model={"dropout_rate": 0.0}))["model.dropout_rate"] == 0.0


@pytest.mark.parametrize(
    ("schedule", "warmup_steps"),
    [("linear", 0), ("cosine", 0), ("rsqrt", 10_000), ("constant * linear_warmup * rsqrt_decay", 10_000)],
)
def test_a_schedule_that_divides_by_the_warmup_keeps_one(schedule, warmup_steps):
    fields = resolved(config(optimizer={"schedule": schedule}))
    assert (fields["optimizer.warmup_steps"], fields["optimizer.learning_rate"]) == (warmup_steps, 0.001)


def test_epochs_leave_the_number_of_steps_open():
    cfg = config(train={"num_epochs": 3})
    assert filled(cfg, defaults_of(cfg)).train.num_steps is None


def test_a_mistake_that_depends_on_a_default_is_found_when_it_is_filled_in():
    with pytest.raises(ValueError, match=r"train.batch_size 16 is not divisible by train.num_microbatches 32"):
        resolved(config(train={"num_microbatches": 32}))
    with pytest.raises(ValueError, match=r"optimizer.warmup_steps is 0, which the rsqrt schedule divides by"):
        resolved(config(pretrained=None, optimizer={"warmup_steps": 0}))


def test_an_optimizer_without_a_run_has_the_defaults_of_pretraining():
    cfg = filled_optimizer(OptimizerConfig(schedule="constant"))
    assert (cfg.learning_rate, cfg.schedule, cfg.warmup_steps) == (0.01, "constant", 10_000)


def test_both_defaults_count_as_not_given_so_that_recorded_configs_are_accepted():
    assert all(is_default("learning_rate", value) for value in (None, 0.01, 0.001))
    assert not is_default("learning_rate", 0.1)
