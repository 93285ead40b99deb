# SPDX-License-Identifier: Apache-2.0
"""Writes what T5X's own Adafactor makes of the parameters and gradients of tests/optim/test_adafactor.py.

    git clone https://github.com/google-research/t5x
    PYTHONPATH=. python scripts/make_golden_adafactor.py --t5x t5x [--output tests/optim/golden/adafactor.npz]

It runs `t5x/adafactor.py` of the checkout, whose other modules are not needed: the two that it imports are replaced.
"""

import argparse
import importlib.util
import pathlib
import sys
import types
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import freeze
from flax.traverse_util import flatten_dict

from tests.optim.test_adafactor import LOGICAL, MAPPED, growing_grads, random_tree, schedule, spaced

STEPS = 5
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unscaled": {"multiply_by_parameter_scale": False},
    "momentum": {"beta1": 0.9, "weight_decay_rate": 0.02},
}
T5X_NAMES = {"head_dim": "kv", "buckets": "relpos_buckets"}


class OptimizerDef:
    """Stands for T5X's base class."""

    def __init__(self, hyper_params: Any):
        self.hyper_params = hyper_params


class OptimizerState(NamedTuple):
    """Stands for T5X's."""

    step: Any
    param_states: Any


def main() -> None:
    """Writes the golden file."""
    parser = argparse.ArgumentParser(description="Writes a golden file from T5X's Adafactor.")
    parser.add_argument("--t5x", type=pathlib.Path, required=True, help="a checkout of T5X")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("tests/optim/golden/adafactor.npz"))
    options = parser.parse_args()
    module = t5x_adafactor(options.t5x)
    results = {
        f"{name}/{kind}": spaced(logical(module, shape, t5x_axes(name, axes), OPTIONS[kind]))
        for name, (shape, axes) in LOGICAL.items()
        for kind in OPTIONS
    }
    results |= {f"map/{name}": spaced(values) for name, values in mapped(module).items()}
    np.savez_compressed(options.output, allow_pickle=False, **results)


def t5x_adafactor(checkout: pathlib.Path) -> Any:
    """Imports `t5x/adafactor.py` without the rest of T5X."""
    t5x, utils, optimizers = (types.ModuleType(name) for name in ("t5x", "t5x.utils", "t5x.optimizers"))
    vars(utils)["flatten_dict_string_keys"] = lambda tree: flatten_dict(tree, sep="/")
    vars(optimizers).update(OptimizerDef=OptimizerDef, OptimizerState=OptimizerState)
    vars(t5x).update(utils=utils, optimizers=optimizers)
    sys.modules.update({module.__name__: module for module in (t5x, utils, optimizers)})
    spec = importlib.util.spec_from_file_location("t5x.adafactor", checkout / "t5x" / "adafactor.py")
    assert spec
    assert spec.loader
    module = sys.modules["t5x.adafactor"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def t5x_axes(name: str, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns T5X's names of the axes of a parameter."""
    if name == "norm":
        return ("layers", "layer_norm_scale")
    return tuple(T5X_NAMES.get(axis, axis) for axis in axes)


def logical(module: Any, shape: tuple[int, ...], axes: tuple[str, ...], options: dict[str, Any]) -> np.ndarray:
    """Returns a parameter that is factored by the standard logical rules, after all steps."""
    optimizer = module.Adafactor(logical_factor_rules=module.standard_logical_factor_rules(), **options)
    optimizer.set_param_axes(freeze({"x": jax.sharding.PartitionSpec(*axes)}))
    return trained(optimizer, {"x": shape})["x"]


def mapped(module: Any) -> dict[str, np.ndarray]:
    """Returns parameters with options from maps, after all steps."""
    kinds = module.FactorDim
    factored = (("wi", (kinds.BATCH, kinds.ROW, kinds.COLUMN)), ("wo", (kinds.BATCH, kinds.COLUMN, kinds.ROW)))
    optimizer = module.Adafactor(
        factor_map=module.HParamMap((*factored, ("bed", None))),
        multiply_by_parameter_scale=module.HParamMap((("bed", False), (".*", True))),
    )
    return trained(optimizer, MAPPED)


def trained(optimizer: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Returns parameters after all steps."""
    params = jax.tree.map(jnp.asarray, random_tree(0, shapes))
    state = optimizer.init_state(params)
    for step, grads in enumerate(growing_grads(STEPS, shapes)):
        hyper_params = optimizer.hyper_params.replace(learning_rate=schedule(step))
        params, state = optimizer.apply_gradient(hyper_params, params, state, grads)
    return jax.tree.map(np.asarray, params)


if __name__ == "__main__":
    main()
