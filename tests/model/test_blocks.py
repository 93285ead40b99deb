"""Tests t5x_lite/model/blocks.py"""

import dataclasses

import jax
import numpy as np
from flax import nnx

from t5x_lite.model.blocks import DecoderBlock, EncoderBlock, split_key
from tests import tiny

CFG = tiny.T5_1_1


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def silenced(block):
    """The block with every projection back to the residual stream at zero."""
    for path, leaf in [("attention", "out"), ("self_attention", "out"), ("cross_attention", "out"), ("mlp", "wo")]:
        if hasattr(block, path):
            param = getattr(getattr(block, path), leaf)
            param[...] = param[...] * 0
    return block


def test_an_encoder_block_adds_to_the_residual_stream():
    x_BSD = normal(0, 3, 11, 20)
    np.testing.assert_array_equal(silenced(EncoderBlock(CFG, rngs=nnx.Rngs(0)))(x_BSD, None, None), x_BSD)


def test_a_decoder_block_adds_to_the_residual_stream_and_reads_the_encoding():
    x_BTD, encoded_BSD = normal(0, 3, 7, 20), normal(1, 3, 11, 20)
    block = DecoderBlock(CFG, rngs=nnx.Rngs(0))
    one, other = (block(x_BTD, encoding, None, (None, None)) for encoding in (encoded_BSD, -encoded_BSD))
    assert not np.allclose(one, other)
    np.testing.assert_array_equal(silenced(block)(x_BTD, encoded_BSD, None, (None, None)), x_BTD)


def test_every_place_of_dropout_draws_its_own_mask():
    keys = split_key(jax.random.key(0), 6)
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 6
    assert split_key(None, 3) == (None, None, None)


def test_dropout_in_a_block_needs_a_key():
    block = EncoderBlock(dataclasses.replace(CFG, dropout_rate=0.4), rngs=nnx.Rngs(0))
    x_BSD = normal(0, 3, 11, 20)
    kept = block(x_BSD, None, None)
    np.testing.assert_array_equal(kept, block(x_BSD, None, None))
    assert not np.allclose(kept, block(x_BSD, None, None, jax.random.key(1)))
