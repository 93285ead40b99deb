"""Tests t5x_lite/config/factors.py: what a product of T5X's factors may be, and which fields it reads."""

import pytest

from t5x_lite.config import OptimizerConfig
from t5x_lite.config.factors import FACTORS, factors_of


def optimizer(schedule, **fields):
    return OptimizerConfig(schedule=schedule, **fields)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant * linear_warmup * rsqrt_decay", ("constant", "linear_warmup", "rsqrt_decay")),
        ("constant*decay_every", ("constant", "decay_every")),
        (" linear_decay ", ("linear_decay",)),
    ],
)
def test_a_product_is_split_at_its_stars(schedule, expected):
    assert factors_of(schedule) == expected


@pytest.mark.parametrize("factor", sorted(FACTORS))
def test_every_factor_is_a_schedule_with_the_fields_it_reads(factor):
    fields = {"learning_rate": 0.5, "warmup_steps": 3, "decay_factor": 0.25, "steps_per_decay": 5, "steps_per_cycle": 7}
    read = {name: fields[name] for name in FACTORS[factor]}
    factors = factor if factor != "constant" else "constant * decay_every"
    assert optimizer(factors, **read, step_offset=2, min_learning_rate=0.1).schedule == factors


@pytest.mark.parametrize(
    ("schedule", "hint"),
    [
        ("constant * linear_warm_up", "'linear_warm_up' is .*did you mean linear_warmup?"),
        ("constnat * rsqrt_decay", "'constnat' is .*did you mean constant?"),
        ("cosine_decays", "did you mean cosine_decay?"),
        ("constant * cosine", "did you mean cosine_decay?"),
        ("cosin", "did you mean cosine?"),
        ("rsqr", "did you mean rsqrt?"),
        ("constant *", "'' is not a factor of T5X's schedules; the names are constant, linear_warmup"),
        ("xyz", "'xyz' is not a schedule or one of T5X's factors; the names are rsqrt, linear, cosine, constant, "),
        ("", "'' is not a schedule"),
    ],
)
def test_an_unknown_factor_is_refused_with_the_nearest_one(schedule, hint):
    with pytest.raises(ValueError, match=rf"optimizer\.schedule is .*{hint}") as refused:
        optimizer(schedule)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("other", ["constant", "linear_warmup"])
def test_linear_decay_is_refused_together_with_what_it_includes(other):
    with pytest.raises(ValueError, match="linear_decay already includes constant and linear_warmup"):
        optimizer(f"{other} * linear_decay")


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        ("rsqrt_decay", {"learning_rate": 0.5}),
        ("constant * decay_every", {"warmup_steps": 5}),
        ("constant * rsqrt_decay", {"decay_factor": 0.25}),
        ("constant * linear_warmup", {"steps_per_cycle": 7}),
        ("constant * cosine_decay", {"steps_per_decay": 7}),
        ("constant * cosine_decay", {"final_fraction": 0.1}),
    ],
)
def test_a_field_that_no_factor_reads_is_refused(schedule, fields):
    ((name, value),) = fields.items()
    with pytest.raises(ValueError, match=rf"optimizer\.{name} is {value}, but optimizer\.schedule .*does not use it"):
        optimizer(schedule, **fields)


@pytest.mark.parametrize("schedule", ["rsqrt", "linear", "cosine", "constant"])
@pytest.mark.parametrize(
    "fields", [{"decay_factor": 0.1}, {"steps_per_decay": 9}, {"step_offset": 4}, {"min_learning_rate": 0.0}]
)
def test_the_fields_of_factors_are_refused_with_the_other_schedules(schedule, fields):
    with pytest.raises(ValueError, match=rf"optimizer\.{next(iter(fields))} is .* only a product of factors"):
        optimizer(schedule, **fields)


@pytest.mark.parametrize("factor", ["linear_warmup", "linear_decay", "rsqrt_decay", "rsqrt_normalized_decay"])
def test_a_factor_that_divides_by_the_warmup_needs_one(factor):
    with pytest.raises(ValueError, match=rf"optimizer\.warmup_steps is 0, which {factor} of optimizer\.schedule"):
        optimizer(factor, warmup_steps=0)


@pytest.mark.parametrize(
    "fields", [{"decay_factor": 0.0}, {"steps_per_decay": 0}, {"steps_per_cycle": -1}, {"step_offset": -1}]
)
def test_values_without_a_meaning_are_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(ValueError, match=rf"optimizer\.{name} is {value}: use"):
        optimizer("constant * decay_every * cosine_decay", **fields)
