"""Tests t5x_lite/optim/factors.py against values of T5X's function and against NumPy in float64.

PUBLISHED was computed with `create_learning_rate_scheduler` of t5x/utils.py at commit cc342d4, for the schedules of the
configs that are named, and for the factors that no config uses.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.config import OptimizerConfig
from t5x_lite.optim.schedules import make_schedule

STEPS = (0, 1, 100, 999, 1_000, 1_500, 2_699, 20_000, 1_000_000)
LEAST = 1e-8
PUBLISHED = [
    (  # the defaults of create_learning_rate_scheduler
        "constant * linear_warmup * rsqrt_decay",
        {"learning_rate": 0.5, "warmup_steps": 1_000},
        (LEAST, 1.5811389e-05, 0.0015811389, 0.015795577, 0.015811389, 0.012909945, 0.0096242866, 0.003535534, 0.0005),
    ),
    (  # configs/runs/pretrain.gin
        "constant * rsqrt_decay",
        {"learning_rate": 1.0, "warmup_steps": 10_000},
        (0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.007071068, 0.001),
    ),
    (  # configs/runs/finetune.gin
        "constant",
        {"learning_rate": 0.001, "warmup_steps": 0},
        (0.001,) * 9,
    ),
    (  # contrib/gpu/t5/configs/runs/pretrain_pile.gin
        "linear_decay",
        {"learning_rate": 1e-4, "warmup_steps": 10_000, "decay_factor": 9.0909e-7, "min_learning_rate": 1e-5},
        (1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1.5e-5, 2.699e-5, 9.909091e-5, 1.0000092e-5),
    ),
    (  # contrib/gpu/t5/configs/runs/finetune_mnli.gin
        "linear_decay",
        {"learning_rate": 1e-3, "warmup_steps": 1_001_000, "decay_factor": 1.67e-5, "min_learning_rate": 1e-5},
        (1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1.9980022e-5, 9.9900109e-4),
    ),
    (  # examples/t5/t5_1_1/examples/base_wmt_from_scratch_adamw.gin
        "constant * linear_warmup * rsqrt_decay",
        {"learning_rate": 0.01, "warmup_steps": 10_000},
        (LEAST, LEAST, 1e-6, 9.99e-6, 1e-5, 1.5e-5, 2.699e-5, 7.0710674e-5, 1e-5),
    ),
    (
        "constant * rsqrt_normalized_decay",
        {"learning_rate": 0.01, "warmup_steps": 400},
        (0.01, 0.01, 0.01, 0.0063277194, 0.0063245553, 0.0051639779, 0.0038497145, 0.0014142134, 0.0002),
    ),
    (
        "constant * linear_warmup * rsqrt_normalized_decay",
        {"learning_rate": 0.01, "warmup_steps": 400, "step_offset": 1_000},
        (LEAST, LEAST, LEAST, LEAST, LEAST, 0.0089442711, 0.0048521394, 0.0014509525, 0.00020010007),
    ),
    (
        "constant * decay_every",
        {"learning_rate": 0.1, "decay_factor": 0.3, "steps_per_decay": 700},
        (0.1, 0.1, 0.1, 0.03, 0.03, 0.009, 0.0027, LEAST, LEAST),
    ),
    (
        "linear_decay",
        {"learning_rate": 1e-4, "warmup_steps": 300, "decay_factor": 2e-4},
        (LEAST, 3.3333333e-07, 3.3333334e-05, 8.6019994e-05, 8.6e-05, 7.6e-05, 5.202e-05, LEAST, LEAST),
    ),
    (
        "constant * linear_warmup * cosine_decay",
        {"learning_rate": 0.02, "warmup_steps": 200, "steps_per_cycle": 1_000},
        (LEAST, 1e-4, 0.01, 0.0019283342, 0.0019098293, 0.015877854, 0.010031414, 0.0019098436, 0.0019100553),
    ),
    (
        "constant*cosine_decay",
        {"learning_rate": 0.02, "warmup_steps": 200, "steps_per_cycle": 1_000, "min_learning_rate": 1e-3},
        (0.02, 0.02, 0.02, 0.0019283342, 0.0019098293, 0.015877854, 0.010031414, 0.0019098436, 0.0019100553),
    ),
    (
        "rsqrt_decay",
        {"warmup_steps": 25},
        (0.2, 0.2, 0.1, 0.0316386, 0.031622779, 0.02581989, 0.019248573, 0.007071068, 0.001),
    ),
]
ODD = {"learning_rate": 0.3, "warmup_steps": 70, "step_offset": 11, "min_learning_rate": 0.0}


def schedule(factors, **fields):
    return make_schedule(OptimizerConfig(schedule=factors, **fields), num_steps=3)


def numpy_factor(name, step, cfg):
    warmup = cfg.warmup_steps
    after = max(step - warmup, 0) / cfg.steps_per_cycle
    return {
        "constant": cfg.learning_rate,
        "linear_warmup": min(1, step / warmup),
        "linear_decay": cfg.learning_rate * min(step / warmup, 1 - cfg.decay_factor * (step - warmup)),
        "rsqrt_decay": max(step, warmup) ** -0.5,
        "rsqrt_normalized_decay": (max(step, warmup) / warmup) ** -0.5,
        "decay_every": cfg.decay_factor ** (step // cfg.steps_per_decay),
        "cosine_decay": np.cos(np.pi / 2 * (after - np.floor(after))) ** 2,
    }[name]


@pytest.mark.parametrize(("factors", "fields", "expected"), PUBLISHED)
def test_the_learning_rates_are_t5xs(factors, fields, expected):
    rate = schedule(factors, **fields)
    # At 1,000,000 steps float32 holds 3 digits of the place within a cycle.
    np.testing.assert_allclose([rate(step) for step in STEPS], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("factors", "fields"),
    [
        ("constant * linear_warmup * decay_every", {"decay_factor": 0.7, "steps_per_decay": 13}),
        ("linear_decay * decay_every", {"decay_factor": 0.002, "steps_per_decay": 130}),
        ("cosine_decay * constant * rsqrt_decay", {"steps_per_cycle": 37}),
        ("linear_warmup * rsqrt_normalized_decay * constant * constant", {}),
    ],
)
def test_a_schedule_is_the_product_of_its_factors_counted_from_the_offset(factors, fields):
    cfg = OptimizerConfig(schedule=factors, **ODD | fields)
    rate = make_schedule(cfg, num_steps=3)
    for step in (0, 5, 11, 12, 48, 81, 82, 150, 500):
        product = np.prod([numpy_factor(name, max(step - 11, 0), cfg) for name in factors.split(" * ")])
        np.testing.assert_allclose(rate(step), max(product, 0), rtol=2e-5, atol=1e-9)


def test_a_decay_to_negative_values_stops_at_the_least_learning_rate():
    rate = schedule("linear_decay", learning_rate=0.2, warmup_steps=5, decay_factor=0.1, min_learning_rate=0.03)
    np.testing.assert_allclose([rate(step) for step in (0, 5, 14, 15, 99)], [0.03, 0.2, 0.03, 0.03, 0.03], rtol=1e-5)


def test_cosine_cycles_start_again_at_the_top():
    rate = schedule("constant * cosine_decay", learning_rate=0.5, warmup_steps=0, steps_per_cycle=8)
    np.testing.assert_allclose([rate(step) for step in (0, 4, 8, 12, 16)], [0.5, 0.25, 0.5, 0.25, 0.5], rtol=1e-6)


@pytest.mark.parametrize(("factors", "fields", "expected"), PUBLISHED)
def test_a_traced_step_gives_the_same_float32_scalar(factors, fields, expected):
    rate = jax.jit(schedule(factors, **fields))(jnp.int32(1_500))
    assert (rate.dtype, rate.shape) == (jnp.float32, ())
    np.testing.assert_allclose(rate, expected[5], rtol=1e-6)
