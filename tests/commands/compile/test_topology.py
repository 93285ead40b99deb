"""Tests t5x_lite/commands/compile/topology.py; what needs libtpu is in test_init.py."""

import importlib.util

import pytest

from t5x_lite.commands.compile.topology import bounds_of, topology_devices


@pytest.mark.parametrize(("name", "bounds"), [("v5e:16x16", (16, 16)), ("v5p:4x4x8", (4, 4, 8)), ("h100:8", (8,))])
def test_a_name_gives_the_chips_along_each_dimension(name, bounds):
    assert bounds_of(name) == bounds


@pytest.mark.parametrize("name", ["v5e", "v5e:16", "h100:8x8", "h100:0", "t4:8", "v5e:4x0", "v5e:4x4;", "V5E:4x4", ""])
def test_another_name_is_refused_with_examples(name):
    with pytest.raises(ValueError, match=r"a TPU \(v4, v5e, v5p, v6e, tpu7x\) .* as v5e:4x4.* or a GPU \(a100"):
        bounds_of(name)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_libtpu_the_extra_is_named():
    with pytest.raises(ValueError, match=r"libtpu is not installed: pip install 't5x-lite\[tpu\]'"):
        topology_devices("v5e:4x4", 1)
