"""Tests t5x_lite/model/attention_maps.py"""

import dataclasses

import jax
import numpy as np
import pytest

from t5x_lite.model.attention_maps import attention_maps
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.transformer import T5
from tests import numpy_t5, tiny

NUM_LABELS = 6
N = tiny.T5_1_1.num_heads
ENCODERS = {MaskedLM: (), SequenceClassifier: (NUM_LABELS,), TokenClassifier: (NUM_LABELS,)}
run = jax.jit(attention_maps)
# The others have the forms of these two, with other activations and tables.
QUICK = [name if name in ("1.1", "umT5") else pytest.param(name, marks=pytest.mark.slow) for name in tiny.FAMILY]


@pytest.fixture
def recorded(monkeypatch):
    """Each softmax of the NumPy model, [queries, keys], in the order of the forward pass."""
    weights, compute = [], numpy_t5._weights

    def recording(scores):
        weights.append(compute(scores))
        return weights[-1]

    monkeypatch.setattr(numpy_t5, "_weights", recording)
    return weights


def by_layer_and_head(recorded, num_layers, b):
    """weights_LNTS of example b of as many runs of a stack as there are examples."""
    return np.reshape(recorded, (-1, num_layers, N, *recorded[0].shape))[b]


def assert_equal_where_tokens_ask(actual_LNSS, expected_LNSS, inputs_S):
    """What padding attends to is read by no one, and differs: the model masks keys alone."""
    num_tokens = np.count_nonzero(inputs_S)
    np.testing.assert_allclose(actual_LNSS[:, :, :num_tokens], expected_LNSS[:, :, :num_tokens], atol=1e-5)


def inputs_with_prefixes():
    inputs_BT = tiny.batch()[1]
    prefix_BT = np.zeros_like(inputs_BT)
    prefix_BT[0, :4], prefix_BT[1, :2] = 1, 1
    return inputs_BT, prefix_BT


@pytest.mark.parametrize("name", QUICK)
def test_the_maps_of_a_t5_are_those_of_a_numpy_t5(name, recorded):
    cfg = tiny.FAMILY[name]
    model, (inputs_BS, decoder_inputs_BT) = tiny.drawn(T5, cfg), tiny.batch()
    maps = run(model, inputs_BS, decoder_inputs_BT)
    for b in range(tiny.B):
        recorded.clear()
        numpy_t5.forward(model, inputs_BS[b : b + 1], decoder_inputs_BT[b : b + 1])
        num_encoder = cfg.num_encoder_layers * N
        encoder_LNSS = by_layer_and_head(recorded[:num_encoder], cfg.num_encoder_layers, 0)
        assert_equal_where_tokens_ask(maps.encoder_LBNSS[:, b], encoder_LNSS, inputs_BS[b])
        # Each layer of the decoder has the heads of its self-attention, then those of its cross-attention.
        heads = recorded[num_encoder:]
        for layer in range(cfg.num_decoder_layers):
            of_layer = heads[2 * N * layer : 2 * N * (layer + 1)]
            np.testing.assert_allclose(maps.decoder_LBNTT[layer, b], of_layer[:N], atol=1e-5)
            np.testing.assert_allclose(maps.cross_LBNTS[layer, b], of_layer[N:], atol=1e-5)


@pytest.mark.parametrize("has_prefix", [False, True])
def test_the_maps_of_a_decoder_are_those_of_a_numpy_decoder(has_prefix, recorded):
    model, (inputs_BT, prefix_BT) = tiny.drawn(Decoder, tiny.T5_1_1), inputs_with_prefixes()
    second = (prefix_BT,) if has_prefix else ()
    maps = run(model, inputs_BT, *second)
    numpy_t5.decode(model, inputs_BT, *second)
    for b in range(tiny.B):
        weights_LNTT = by_layer_and_head(recorded, tiny.T5_1_1.num_decoder_layers, b)
        np.testing.assert_allclose(maps.decoder_LBNTT[:, b], weights_LNTT, atol=1e-5)
    assert maps.encoder_LBNSS is None
    assert maps.cross_LBNTS is None


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_maps_of_an_encoder_are_those_of_a_numpy_encoder(kind, recorded):
    model, (inputs_BS, _) = tiny.drawn(kind, tiny.UMT5, *ENCODERS[kind]), tiny.batch()
    maps = run(model, inputs_BS)
    numpy_t5.encode(model.encoder, inputs_BS)
    for b in range(tiny.B):
        weights_LNSS = by_layer_and_head(recorded, tiny.UMT5.num_encoder_layers, b)
        assert_equal_where_tokens_ask(maps.encoder_LBNSS[:, b], weights_LNSS, inputs_BS[b])
    assert maps.decoder_LBNTT is None
    assert maps.cross_LBNTS is None


BFLOAT16 = dataclasses.replace(tiny.UL2, dtype="bfloat16")


@pytest.mark.parametrize("name", [*QUICK, pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_the_logits_are_those_of_the_t5(name):
    cfg = BFLOAT16 if name == "bfloat16" else tiny.FAMILY[name]
    model = tiny.drawn(T5, cfg)
    inputs_BS, decoder_inputs_BT = tiny.batch()
    maps = run(model, inputs_BS, decoder_inputs_BT)
    np.testing.assert_allclose(maps.logits, tiny.logits(model, inputs_BS, decoder_inputs_BT), rtol=1e-6, atol=1e-6)
    assert all(weights.dtype == np.float32 for weights in maps)


@pytest.mark.parametrize("has_prefix", [False, True])
def test_the_logits_are_those_of_the_decoder(has_prefix):
    model, (inputs_BT, prefix_BT) = tiny.drawn(Decoder, tiny.T5_1_0), inputs_with_prefixes()
    second = (prefix_BT,) if has_prefix else ()
    expected_BTV = jax.jit(lambda model, *ids: model(*ids))(model, inputs_BT, *second)
    np.testing.assert_allclose(run(model, inputs_BT, *second).logits, expected_BTV, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind is MaskedLM else kind for kind in ENCODERS]
)
def test_the_logits_are_those_of_the_encoder_with_its_head(kind):
    model, (inputs_BS, _) = tiny.drawn(kind, tiny.T5_1_1, *ENCODERS[kind]), tiny.batch()
    expected = jax.jit(lambda model, inputs_BS: model(inputs_BS))(model, inputs_BS)
    np.testing.assert_allclose(run(model, inputs_BS).logits, expected, rtol=1e-6, atol=1e-6)


def test_weights_sum_to_one_and_padding_and_later_tokens_have_none():
    inputs_BS, decoder_inputs_BT = tiny.batch()
    maps = run(tiny.drawn(T5, tiny.T5_1_1), inputs_BS, decoder_inputs_BT)
    for weights in (maps.encoder_LBNSS, maps.decoder_LBNTT, maps.cross_LBNTS):
        np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-5)
    is_padding_BS = inputs_BS == 0
    assert is_padding_BS.any()
    for weights in (maps.encoder_LBNSS, maps.cross_LBNTS):
        for b in range(tiny.B):
            assert not np.asarray(weights)[:, b][..., is_padding_BS[b]].any()
    assert not np.triu(np.asarray(maps.decoder_LBNTT), k=1).any()


def test_a_prefix_is_read_both_ways_and_nothing_else_is():
    model, (inputs_BT, prefix_BT) = tiny.drawn(Decoder, tiny.T5_1_1), inputs_with_prefixes()
    weights_LBNTT = np.asarray(run(model, inputs_BT, prefix_BT).decoder_LBNTT)
    for b in range(tiny.B):
        later_TT = np.triu(np.ones((tiny.T, tiny.T), bool), k=1)
        in_prefix_TT = np.outer(prefix_BT[b], prefix_BT[b]) > 0
        assert (weights_LBNTT[:, b][..., later_TT & in_prefix_TT] > 0).all()
        assert not weights_LBNTT[:, b][..., later_TT & ~in_prefix_TT].any()


def test_a_t5_without_targets_is_refused():
    with pytest.raises(ValueError, match="decoder_inputs_BT is None"):
        attention_maps(tiny.drawn(T5, tiny.T5_1_1), tiny.batch()[0])
