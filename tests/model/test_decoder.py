"""Tests t5x_lite/model/decoder.py"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.data.prefix_lm import prefix_lm
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.kernels.cross_entropy import cross_entropy
from t5x_lite.model.transformer import T5
from tests import numpy_t5, tiny

B, T, P = 3, 7, 5
TIED = dataclasses.replace(tiny.UMT5, tie_embeddings=True, mlp_activations=("relu",))
MODEL = tiny.drawn(Decoder, tiny.T5_1_1)
BOTH = {"1.1": MODEL, "tied, with a table a layer": tiny.drawn(Decoder, TIED)}
WHOLE_BT = np.ones((B, T), int)
PREFIX_BT = (np.arange(T)[None, :] < np.array([[4], [2], [7]])).astype(int)
SEGMENTS_BT = np.array([[1, 1, 1, 2, 2, 2, 0], [1, 2, 2, 2, 2, 2, 2], [1, 1, 2, 2, 3, 0, 0]])
PREFIX_OF_SEGMENTS_BT = np.array([[1, 1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0]])


def inputs():
    inputs_BT = tiny.ids(B, T)
    inputs_BT[:, 0] = 0
    return inputs_BT


_logits = jax.jit(lambda model, *arguments: model(*arguments))
_step = jax.jit(lambda model, tokens_BK, cache: model.decode_step(tokens_BK, cache))


@jax.jit
def _prefilled(model, prompts_BP, prefix_BP=None, lengths_B=None):
    return model.init_cache(prompts_BP, T + 2, prefix_BP=prefix_BP, lengths_B=lengths_B)


def step(model, token_B, cache):
    """Of one beam."""
    logits_B1V, cache = _step(model, token_B[:, None], cache)
    return logits_B1V[:, 0], cache


def logits(model, *arguments):
    return np.asarray(_logits(model, *arguments))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("version", BOTH)
def test_causal_logits_equal_an_independent_numpy_decoder(version):
    close(logits(BOTH[version], inputs()), numpy_t5.decode(BOTH[version], inputs()))


def test_prefix_logits_equal_an_independent_numpy_decoder():
    close(logits(MODEL, inputs(), PREFIX_BT, WHOLE_BT), numpy_t5.decode(MODEL, inputs(), PREFIX_BT))


def test_packed_prefix_logits_equal_an_independent_numpy_decoder():
    expected = numpy_t5.decode(MODEL, inputs(), PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)
    actual = logits(MODEL, inputs(), PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)
    close(actual[SEGMENTS_BT > 0], expected[SEGMENTS_BT > 0])


def test_a_causal_prediction_does_not_depend_on_later_tokens():
    changed_BT = inputs()
    changed_BT[:, 4:] = 9
    before, after = logits(MODEL, inputs()), logits(MODEL, changed_BT)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before - after)[:, 4:].max(axis=-1) > 1e-3).all()


def test_a_token_of_the_prefix_sees_later_ones_of_it_and_none_beyond():
    in_prefix_BT, beyond_BT = inputs(), inputs()
    in_prefix_BT[0, 3], beyond_BT[0, 4] = 9, 9
    before, after, other = (
        logits(MODEL, ids_BT, PREFIX_BT, WHOLE_BT)[0] for ids_BT in (inputs(), in_prefix_BT, beyond_BT)
    )
    assert (np.abs(before - after).max(axis=-1) > 1e-3).all()
    np.testing.assert_array_equal(before[:4], other[:4])


def test_packed_examples_get_the_logits_they_get_alone():
    alone_BT, segments_BT, prefix_BT = np.zeros((B, T), int), np.zeros((B, T), int), np.zeros((B, T), int)
    for row, part in enumerate((slice(0, 3), slice(3, 6))):  # of the first row of SEGMENTS_BT
        alone_BT[row, :3], segments_BT[row, :3] = inputs()[0, part], 1
        prefix_BT[row, :3] = PREFIX_OF_SEGMENTS_BT[0, part]
    packed_TV = logits(MODEL, inputs(), PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)[0, :6]
    close(packed_TV, logits(MODEL, alone_BT, prefix_BT, segments_BT)[:2, :3].reshape(6, -1))


def test_padding_after_the_tokens_changes_nothing():
    ids_BT, of_padding_BT = inputs(), SEGMENTS_BT == 0
    before = logits(MODEL, ids_BT, PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)
    ids_BT[of_padding_BT] = 0
    after = logits(MODEL, ids_BT, PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)
    np.testing.assert_array_equal(before[~of_padding_BT], after[~of_padding_BT])


def test_the_converters_features_make_a_loss_with_a_gradient_for_every_parameter():
    targets_BT = np.array([[6, 7, 8, 1, 0, 0, 0], [5, 4, 3, 9, 9, 2, 1], [8, 9, 9, 1, 0, 0, 0]])
    batch = prefix_lm({"targets": targets_BT, "inputs_width": np.array([[2] * T, [3] * T, [1] * T])})
    weights_BT = batch["decoder_loss_weights"].astype(np.float32)

    @jax.jit
    def sums_and_gradients(model):
        def loss(model):
            hidden_BTD = model.hidden(batch["decoder_input_tokens"], batch["decoder_causal_attention"])
            sums = cross_entropy(hidden_BTD, model.output_kernel(), targets_BT, weights_BT)
            return sums.loss, sums

        return jax.grad(loss, has_aux=True)(model)

    grads, sums = sums_and_gradients(MODEL)
    tiny.assert_every_gradient(grads)
    logits_BTV = numpy_t5.decode(MODEL, batch["decoder_input_tokens"], batch["decoder_causal_attention"])
    target_BT = np.take_along_axis(logits_BTV, targets_BT[..., None], -1)[..., 0]
    nats_BT = np.log(np.exp(logits_BTV).sum(-1)) - target_BT
    assert sums.weight == weights_BT.sum() == 2 + 4 + 3
    np.testing.assert_allclose(sums.cross_entropy, (nats_BT * weights_BT).sum(), rtol=1e-5)


@pytest.mark.parametrize("version", BOTH)
def test_cached_steps_give_the_logits_of_the_whole(version):
    decoder = BOTH[version]
    expected_BTV = logits(decoder, inputs())
    for P in (1, 4):
        cache = _prefilled(decoder, inputs()[:, :P])
        for position in range(P - 1, T):
            logits_BV, cache = step(decoder, inputs()[:, position], cache)
            close(logits_BV, expected_BTV[:, position])
        assert cache.num_steps == T - P + 1


def test_a_prefix_that_is_read_at_once_gives_the_logits_of_the_whole():
    decoder = BOTH["tied, with a table a layer"]
    prefix_BT = np.broadcast_to(np.arange(T) < P, (B, T)).astype(int)
    expected_BTV = numpy_t5.decode(decoder, inputs(), prefix_BT)
    cache = _prefilled(decoder, inputs()[:, :P], prefix_BT[:, :P])
    for position in range(P - 1, T):
        logits_BV, cache = step(decoder, inputs()[:, position], cache)
        close(logits_BV, expected_BTV[:, position])


def test_prompts_of_different_lengths_are_padded_on_the_left():
    decoder, lengths_B = BOTH["tied, with a table a layer"], np.array([5, 2, 4])
    prompts_BP, prefix_BP = np.zeros((B, P), np.int32), np.ones((B, P), int)
    for row, length in enumerate(lengths_B):
        prompts_BP[row, P - length :] = inputs()[row, :length]
    cache = _prefilled(decoder, prompts_BP, prefix_BP, lengths_B)
    first_BV, cache = step(decoder, prompts_BP[:, -1], cache)
    second_BV, _ = step(decoder, np.full(B, 7, np.int32), cache)
    for row, length in enumerate(lengths_B):
        alone_1T = np.append(inputs()[row, :length], 7)[None]
        prefix_1T = (np.arange(length + 1) < length).astype(int)[None]
        expected_TV = numpy_t5.decode(decoder, alone_1T, prefix_1T)[0]
        close(first_BV[row], expected_TV[-2])
        close(second_BV[row], expected_TV[-1])


def test_dropout_needs_a_key_and_changes_with_it():
    model = tiny.with_dropout(MODEL, 0.3)
    hidden = jax.jit(lambda model, key: model.hidden(inputs(), dropout_key=key))
    one, again, other = (hidden(model, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    dropped_BD = np.asarray(one == 0).all(axis=1)  # one mask for the whole length, as T5's decoder has
    assert 0.1 < dropped_BD.mean() < 0.5


def test_every_parameter_has_one_owner():
    for model in BOTH.values():
        assert len(jax.tree.leaves(model)) == len(jax.tree.leaves(nnx.state(model)))


def test_its_parameters_are_those_of_a_t5s_decoder_without_cross_attention():
    of_t5 = tiny.names(jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0))))
    expected = {name.replace("self_", "") for name in of_t5 if "encoder" not in name and "cross" not in name}
    assert set(tiny.names(MODEL)) == expected
    assert MODEL.decoder.blocks.mlp.wo.shape[0] == tiny.T5_1_1.num_decoder_layers


def test_the_compute_dtype_is_that_of_hidden_states_and_cache_and_not_of_logits():
    cfg = dataclasses.replace(tiny.T5_1_1, dtype="bfloat16")
    decoder = jax.eval_shape(lambda: Decoder(cfg, rngs=nnx.Rngs(0)))
    assert {leaf.dtype for leaf in jax.tree.leaves(decoder)} == {jnp.dtype("float32")}
    assert jax.eval_shape(lambda model: model.hidden(inputs()), decoder).dtype == jnp.bfloat16
    cache = jax.eval_shape(lambda model: model.init_cache(inputs(), T), decoder)
    logits_BKV, stepped = jax.eval_shape(_step, decoder, inputs()[:, :1], cache)
    assert logits_BKV.dtype == jnp.float32
    assert {array.dtype for layer in (*cache.layers, *stepped.layers) for array in layer} == {jnp.dtype("bfloat16")}
