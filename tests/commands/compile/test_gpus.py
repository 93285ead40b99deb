"""Tests t5x_lite/commands/compile/gpus.py; what needs the plugin for CUDA is in test_init.py."""

import importlib.util

import pytest

from t5x_lite.commands.compile.gpus import GPUS, gpu_topology, target_config
from t5x_lite.perf.chips import chip_of


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_is_described_with_the_memory_that_the_roofline_takes(name):
    chip = chip_of(GPUS[name].kind)
    assert chip is not None
    assert chip.name == name.upper()
    assert chip.ici_bandwidth is not None
    lines = target_config(name).splitlines()
    assert f"device_memory_size: {chip.hbm_bytes:.0f}" in lines
    assert f"memory_bandwidth: {chip.hbm_bandwidth:.0f}" in lines
    assert f'device_description_str: "{GPUS[name].kind}"' in lines
    assert lines.count("}") == sum(line.endswith("{") for line in lines) == 4


@pytest.mark.skipif(importlib.util.find_spec("jax_plugins") is not None, reason="a plugin of JAX is installed")
def test_without_the_plugin_the_extra_is_named():
    with pytest.raises(ValueError, match=r"for CUDA is not installed: pip install 't5x-lite\[cuda12-local\]'"):
        gpu_topology("h100", 8, 1)
