# SPDX-License-Identifier: Apache-2.0
"""The factors of T5X's learning rate schedules, and the fields of OptimizerConfig that each of them reads.

Source: T5X `create_learning_rate_scheduler` in `utils.py`.
"""

import difflib
from collections.abc import Mapping

from t5x_lite.config.run import SCHEDULES

FACTORS: Mapping[str, tuple[str, ...]] = {
    "constant": ("learning_rate",),
    "linear_warmup": ("warmup_steps",),
    "linear_decay": ("learning_rate", "warmup_steps", "decay_factor"),
    "rsqrt_decay": ("warmup_steps",),
    "rsqrt_normalized_decay": ("warmup_steps",),
    "decay_every": ("decay_factor", "steps_per_decay"),
    "cosine_decay": ("warmup_steps", "steps_per_cycle"),
}
READ_BY_ALL = ("step_offset", "min_learning_rate")
DIVIDES_BY_WARMUP = frozenset({"linear_warmup", "linear_decay", "rsqrt_decay", "rsqrt_normalized_decay"})


def factors_of(schedule: str) -> tuple[str, ...]:
    """Returns the factors of a product such as "constant * linear_warmup * rsqrt_decay".

    Raises:
      ValueError: if a factor is unknown, or linear_decay is combined with the factors it includes.
    """
    factors = tuple(factor.strip() for factor in schedule.split("*"))
    names = FACTORS if len(factors) > 1 else (*SCHEDULES, *FACTORS)
    for factor in factors:
        if factor not in FACTORS:
            near = difflib.get_close_matches(factor, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(names)}"
            kind = "a factor of T5X's schedules" if len(factors) > 1 else "a schedule or one of T5X's factors"
            raise ValueError(f"optimizer.schedule is {schedule!r}: {factor!r} is not {kind}; {hint}")
    if "linear_decay" in factors and {"constant", "linear_warmup"} & set(factors):
        raise ValueError(
            f"optimizer.schedule is {schedule!r}: linear_decay already includes constant and linear_warmup: leave "
            "them out"
        )
    return factors


def check_factors(schedule: str, warmup_steps: int, given: Mapping[str, object]) -> None:
    """Raises ValueError if a product of factors is invalid, or does not read one of the fields `given`, by name."""
    factors = factors_of(schedule)
    read = {field for factor in factors for field in FACTORS[factor]} | set(READ_BY_ALL)
    for field, value in given.items():
        if field not in read:
            raise ValueError(
                f"optimizer.{field} is {value}, but optimizer.schedule {schedule!r} does not use it: leave it out, or "
                "add a factor that does"
            )
    divides = [factor for factor in factors if factor in DIVIDES_BY_WARMUP]
    if warmup_steps == 0 and divides:
        raise ValueError(
            f"optimizer.warmup_steps is 0, which {divides[0]} of optimizer.schedule divides by: use 1 or more, or "
            f"leave out {divides[0]}"
        )
