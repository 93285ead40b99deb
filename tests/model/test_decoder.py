"""Tests t5x_lite/model/decoder.py."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.data.converters import prefix_lm
from t5x_lite.kernels.cross_entropy import cross_entropy
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.transformer import T5
from tests import numpy_t5, tiny

B, T = 3, 7
TIED = dataclasses.replace(tiny.UMT5, tie_embeddings=True, mlp_activations=("relu",))
BOTH = {"1.1": tiny.T5_1_1, "tied, with a table a layer": TIED}
PREFIX_BT = (np.arange(T)[None, :] < np.array([[4], [2], [7]])).astype(np.int32)
SEGMENTS_BT = np.array([[1, 1, 1, 2, 2, 2, 0], [1, 2, 2, 2, 2, 2, 2], [1, 1, 2, 2, 3, 0, 0]])
PREFIX_OF_SEGMENTS_BT = np.array([[1, 1, 0, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0]])


@functools.cache
def model(cfg=tiny.T5_1_1) -> Decoder:
    return jax.jit(lambda: Decoder(cfg, rngs=nnx.Rngs(0)))()


def inputs(seed=0):
    inputs_BT = tiny.ids(B, T, seed=seed)
    inputs_BT[:, 0] = 0
    return inputs_BT


_called = jax.jit(lambda model, *arguments: model(*arguments))
_step = jax.jit(lambda model, token_B, cache: model.decode_step(token_B, cache))


def logits(model, inputs_BT, *arguments):
    return np.asarray(_called(model, inputs_BT, *arguments))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("version", BOTH)
def test_causal_logits_equal_an_independent_numpy_decoder(version):
    decoder = model(BOTH[version])
    close(logits(decoder, inputs()), numpy_t5.decode(decoder, inputs()))


def test_prefix_logits_equal_an_independent_numpy_decoder():
    close(logits(model(), inputs(), PREFIX_BT), numpy_t5.decode(model(), inputs(), PREFIX_BT))


def test_packed_prefix_logits_equal_an_independent_numpy_decoder():
    expected = numpy_t5.decode(model(), inputs(), PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)
    actual = logits(model(), inputs(), PREFIX_OF_SEGMENTS_BT, SEGMENTS_BT)
    close(actual[SEGMENTS_BT > 0], expected[SEGMENTS_BT > 0])


def test_a_causal_prediction_does_not_depend_on_later_tokens():
    changed_BT = inputs()
    changed_BT[:, 4:] = 9
    before, after = logits(model(), inputs()), logits(model(), changed_BT)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before - after)[:, 4:].max(axis=-1) > 1e-3).all()


def test_a_token_of_the_prefix_sees_later_ones_of_it_and_none_beyond():
    in_prefix_BT, beyond_BT = inputs(), inputs()
    in_prefix_BT[0, 3], beyond_BT[0, 4] = 9, 9
    before = logits(model(), inputs(), PREFIX_BT)
    assert (np.abs(before - logits(model(), in_prefix_BT, PREFIX_BT))[0].max(axis=-1) > 1e-3).all()
    np.testing.assert_array_equal(before[0, :4], logits(model(), beyond_BT, PREFIX_BT)[0, :4])


def test_packed_examples_get_the_logits_they_get_alone():
    inputs_1T = inputs()[:1, :6]
    segments_1T, prefix_1T = np.array([[1, 1, 1, 2, 2, 2]]), np.array([[1, 1, 0, 1, 0, 0]])
    packed_1TV = logits(model(), inputs_1T, prefix_1T, segments_1T)
    alone = [
        logits(model(), inputs_1T[:, part], prefix_1T[:, part], np.ones((1, 3), int))
        for part in (slice(0, 3), slice(3, 6))
    ]
    close(packed_1TV, np.concatenate(alone, axis=1))


def test_padding_after_the_tokens_changes_nothing():
    padded_BT, prefix_BT = inputs(), PREFIX_BT[:, :5]
    padded_BT[:, 5:] = 0
    alone_BTV = logits(model(), padded_BT[:, :5], prefix_BT)
    close(logits(model(), padded_BT, np.pad(prefix_BT, ((0, 0), (0, 2))))[:, :5], alone_BTV)


def test_the_converters_features_are_what_it_reads():
    rows = {"targets": np.array([[6, 7, 8, 1, 0], [5, 4, 3, 9, 1]]), "inputs_width": np.array([[2] * 4 + [0], [3] * 5])}
    batch = prefix_lm(rows)
    hidden_BTD = model().hidden(batch["decoder_input_tokens"], batch["decoder_causal_attention"])
    weights_BT = batch["decoder_loss_weights"].astype(np.float32)
    sums = cross_entropy(hidden_BTD, model().output_kernel(), batch["decoder_target_tokens"], weights_BT)
    logits_BTV = numpy_t5.decode(model(), batch["decoder_input_tokens"], batch["decoder_causal_attention"])
    log_z_BT = np.log(np.exp(logits_BTV).sum(-1))
    target_BT = np.take_along_axis(logits_BTV, rows["targets"][..., None], -1)[..., 0]
    assert sums.weight == weights_BT.sum() == 4
    np.testing.assert_allclose(sums.cross_entropy, ((log_z_BT - target_BT) * weights_BT).sum(), rtol=1e-5)


@pytest.mark.parametrize("version", BOTH)
def test_cached_steps_give_the_logits_of_the_whole(version):
    decoder = model(BOTH[version])
    expected_BTV = logits(decoder, inputs())
    cache = decoder.init_cache(B, max_length=T + 2)
    for position in range(T):
        logits_BV, cache = _step(decoder, inputs()[:, position], cache)
        close(logits_BV, expected_BTV[:, position])
    assert cache.position == T


def test_a_prefix_that_is_read_at_once_gives_the_logits_of_the_whole():
    P, decoder = 4, model(TIED)
    prefix_BT = np.broadcast_to(np.arange(T) < P, (B, T)).astype(np.int32)
    expected_BTV = numpy_t5.decode(decoder, inputs(), prefix_BT)
    logits_BV, cache = decoder.prefill(inputs()[:, :P], decoder.init_cache(B, T + 2), prefix_BT[:, :P])
    close(logits_BV, expected_BTV[:, P - 1])
    for position in range(P, T):
        logits_BV, cache = _step(decoder, inputs()[:, position], cache)
        close(logits_BV, expected_BTV[:, position])


def test_prompts_of_different_lengths_are_padded_on_the_left():
    P, decoder, lengths_B = 5, model(TIED), np.array([5, 2, 4])
    prompts_BP, prefix_BP = np.zeros((B, P), np.int32), np.ones((B, P), np.int32)
    for row, length in enumerate(lengths_B):
        prompts_BP[row, P - length :] = inputs()[row, :length]
    first_BV, cache = decoder.prefill(prompts_BP, decoder.init_cache(B, T + 2), prefix_BP, lengths_B)
    second_BV, _ = _step(decoder, np.full(B, 7), cache)
    for row, length in enumerate(lengths_B):
        alone_1T = np.append(inputs()[row, :length], 7)[None]
        prefix_1T = (np.arange(length + 1) < length).astype(int)[None]
        expected_TV = numpy_t5.decode(decoder, alone_1T, prefix_1T)[0]
        close(first_BV[row], expected_TV[-2])
        close(second_BV[row], expected_TV[-1])


def test_a_prompt_longer_than_the_cache_is_refused():
    shapes = jax.eval_shape(lambda: Decoder(tiny.T5_1_1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="max_length is 6, and the prompt has 7 tokens: give the cache more room"):
        jax.eval_shape(lambda model: model.prefill(inputs(), model.init_cache(B, 6)), shapes)


def test_every_gradient_is_finite_and_none_is_zero():
    direction_BTV = tiny.ids(B, T, 128, seed=2).astype(np.float32)
    grads = jax.jit(jax.grad(lambda model: jnp.sum(model(inputs(), PREFIX_BT) * direction_BTV)))(model())
    for path, grad in jax.tree_util.tree_flatten_with_path(grads)[0]:
        name = jax.tree_util.keystr(path)
        assert np.isfinite(grad).all(), name
        layers = np.asarray(grad) if "blocks" in name else np.asarray(grad)[None]
        assert all(layer.any() for layer in layers), name


def test_dropout_needs_a_key_and_changes_with_it():
    cfg = dataclasses.replace(tiny.T5_1_1, dropout_rate=0.3)
    structure = jax.tree.structure(jax.eval_shape(lambda: Decoder(cfg, rngs=nnx.Rngs(0))))
    dropping = jax.tree.unflatten(structure, jax.tree.leaves(model()))
    dropped = jax.jit(lambda model, key: model(inputs(), dropout_key=key))
    one, again, other = (dropped(dropping, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert not np.allclose(one, logits(model(), inputs()))


def test_every_parameter_has_one_owner():
    assert len(jax.tree.leaves(model())) == len(jax.tree.leaves(nnx.state(model())))


def test_its_parameters_are_those_of_a_t5s_decoder_without_cross_attention():
    def names(model):
        return {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(model)[0]}

    of_t5 = {
        name.replace("self_attention", "attention")
        for name in names(jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0))))
        if "encoder" not in name and "cross" not in name
    }
    assert names(model()) == of_t5
    assert model().decoder.blocks.mlp.wo.shape[0] == tiny.T5_1_1.num_decoder_layers


def test_the_compute_dtype_is_that_of_hidden_states_and_cache_and_not_of_logits():
    cfg = dataclasses.replace(tiny.T5_1_1, dtype="bfloat16")
    decoder = jax.eval_shape(lambda: Decoder(cfg, rngs=nnx.Rngs(0)))
    assert {leaf.dtype for leaf in jax.tree.leaves(decoder)} == {jnp.dtype("float32")}
    assert jax.eval_shape(lambda model: model.hidden(inputs()), decoder).dtype == jnp.bfloat16
    logits_BV, cache = jax.eval_shape(
        lambda model: model.decode_step(jnp.zeros(B, int), model.init_cache(B, T)), decoder
    )
    assert (logits_BV.dtype, cache.keys.dtype, cache.values.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)
