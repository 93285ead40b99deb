"""Tests t5x_lite/model/kernels/unstacked.py"""

import jax
import numpy as np
import pytest

from t5x_lite.config import MeshConfig
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.kernels.unstacked import Unstacked, decode_layout
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh, replicated
from tests import tiny

BATCH, BEAMS, STEPS, INPUTS = 2, 3, 4, 5


def begun(model):
    inputs_BS = np.arange(1, 1 + BATCH * INPUTS).reshape(BATCH, INPUTS)
    if isinstance(model, Decoder) or isinstance(getattr(model, "model", None), Decoder):
        return model.init_cache(inputs_BS, STEPS, BEAMS)
    return model.init_cache(model.encode(inputs_BS), inputs_BS, STEPS, BEAMS)


@pytest.mark.parametrize(
    ("kind", "cfg"),
    [(T5, tiny.T5_1_1), (T5, tiny.T5_1_0), (T5, tiny.UNTIED_AND_SCALED), (Decoder, tiny.T5_1_1)],
    ids=["T5 1.1", "tied", "umT5", "decoder"],
)
def test_it_decodes_as_its_model_does(kind, cfg):
    model = tiny.drawn(kind, cfg)
    apart = decode_layout(model)
    assert isinstance(apart, Unstacked)
    assert decode_layout(apart) is apart
    caches = [begun(model), begun(apart)]
    for step in range(STEPS):
        tokens_BK = np.arange(BATCH * BEAMS).reshape(BATCH, BEAMS) + step
        both = [one.decode_step(tokens_BK, cache) for one, cache in zip((model, apart), caches, strict=True)]
        np.testing.assert_allclose(both[0][0], both[1][0], rtol=1e-5, atol=1e-5)
        caches = [cache for _, cache in both]


def test_no_step_copies_a_layer_of_it():
    apart = decode_layout(tiny.drawn(T5, tiny.T5_1_1))
    step = jax.jit(lambda apart, tokens_BK, cache: apart.decode_step(tokens_BK, cache))
    program = step.lower(apart, np.ones((BATCH, BEAMS), np.int32), begun(apart)).compile().as_text()
    L, D, F = (getattr(tiny.T5_1_1, name) for name in ("num_decoder_layers", "emb_dim", "mlp_dim"))
    assert f"f32[{D},{F}]" in program
    assert f"f32[{L},{D},{F}]" not in program


def test_a_model_on_a_mesh_is_returned_unchanged():
    model = tiny.drawn(T5, tiny.T5_1_1)
    on_mesh = jax.device_put(model, replicated(make_mesh(MeshConfig())))
    assert decode_layout(on_mesh) is on_mesh
