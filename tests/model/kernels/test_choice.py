"""Tests t5x_lite/model/kernels/choice.py"""

import logging

import jax
import pytest

from t5x_lite.config import MeshConfig, ModelConfig
from t5x_lite.model.kernels import choice
from t5x_lite.parallel.mesh import make_mesh

FUSED = ModelConfig(attention="fused")


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(choice, "interpreted", "tpu")


@pytest.mark.parametrize(("attention", "answer"), [("auto", True), ("fused", True), ("reference", False)])
def test_a_platform_with_a_kernel_uses_it_unless_told_otherwise(attention, answer, interpreted):
    assert choice.is_fused(ModelConfig(attention=attention), 114, 512) == answer


def test_cpus_use_the_reference_unless_told_otherwise():
    assert not choice.is_fused(ModelConfig(), 114, 512)
    with pytest.raises(
        ValueError, match=r"^model.attention is fused, but there is no fused attention for CPUs: use auto"
    ):
        choice.is_fused(FUSED, 114, 512)


@pytest.mark.parametrize(
    ("cfg", "num_keys", "message"),
    [
        (ModelConfig(attention="fused", head_dim=48), 512, "model.head_dim is 48, which neither divides 128 nor is a"),
        (FUSED, 16_385, "16385 keys are more than the 16384 that fit a TPU's VMEM"),
    ],
)
def test_what_a_kernel_cannot_do_is_told(cfg, num_keys, message, interpreted):
    with pytest.raises(ValueError, match=f"^model.attention is fused, but {message}"):
        choice.is_fused(cfg, 114, num_keys)


def test_tokens_on_several_devices_have_to_be_whole_tiles(interpreted):
    with jax.set_mesh(make_mesh(MeshConfig(data=4, context=2))):
        assert choice.is_fused(FUSED, 256, 512)
        with pytest.raises(
            ValueError, match=r"mesh.context is 2 and the lengths are 256 and 384: they have to be multip"
        ):
            choice.is_fused(FUSED, 256, 384)


def test_auto_says_once_why_it_takes_the_reference(interpreted, caplog):
    cfg = ModelConfig(head_dim=24)
    with caplog.at_level(logging.WARNING):
        assert not any(choice.is_fused(cfg, length, 512) for length in (114, 115))
    (record,) = caplog.records
    assert record.message.startswith(
        "attention is not fused and needs more memory: model.head_dim is 24, which neither"
    )


def test_an_unknown_implementation_is_refused():
    with pytest.raises(ValueError, match=r"model.attention is 'flash': use one of auto, reference, fused"):
        ModelConfig(attention="flash")
