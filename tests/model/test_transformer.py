"""Tests t5x_lite/model/transformer.py"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.model.transformer import T5
from tests import numpy_t5, tiny


@pytest.mark.parametrize(
    "version",
    [pytest.param(v, marks=pytest.mark.slow) if v in ("UL2", "untied and scaled") else v for v in tiny.FAMILY],
)
def test_logits_equal_an_independent_numpy_t5(version):
    model = tiny.model(tiny.FAMILY[version])
    inputs_BS, decoder_inputs_BT = tiny.batch()
    expected = numpy_t5.forward(model, inputs_BS, decoder_inputs_BT)
    np.testing.assert_allclose(tiny.logits(model, inputs_BS, decoder_inputs_BT), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("version", tiny.BOTH)
def test_packed_logits_equal_an_independent_numpy_t5(version):
    model = tiny.model(tiny.BOTH[version])
    inputs_BS, decoder_inputs_BT = tiny.ids(2, tiny.S), tiny.ids(2, tiny.T, seed=1)
    inputs_segments_BS = np.array([[1] * 4 + [2] * 5 + [0] * 2, [1] * 2 + [2] * 3 + [3] * 6])
    targets_segments_BT = np.array([[1] * 3 + [2] * 2 + [0] * 2, [1] * 1 + [2] * 4 + [3] * 2])
    arguments = (inputs_BS * (inputs_segments_BS > 0), decoder_inputs_BT, inputs_segments_BS, targets_segments_BT)
    expected = numpy_t5.forward(model, *arguments)
    is_target_BT = targets_segments_BT > 0
    actual = tiny.logits(model, *arguments)
    np.testing.assert_allclose(actual[is_target_BT], expected[is_target_BT], rtol=1e-5, atol=1e-5)


def test_packed_examples_get_the_logits_they_get_alone():
    model = tiny.model(tiny.T5_1_1)
    inputs_BS, decoder_inputs_BT = tiny.ids(1, 9), tiny.ids(1, 6, seed=1)
    segments = (np.array([[1] * 4 + [2] * 5]), np.array([[1] * 2 + [2] * 4]))
    packed_BTV = tiny.logits(model, inputs_BS, decoder_inputs_BT, *segments)
    first_BTV = tiny.logits(model, inputs_BS[:, :4], decoder_inputs_BT[:, :2])
    second_BTV = tiny.logits(model, inputs_BS[:, 4:], decoder_inputs_BT[:, 2:])
    np.testing.assert_allclose(packed_BTV, np.concatenate([first_BTV, second_BTV], 1), rtol=1e-5, atol=1e-5)


def test_segments_come_in_pairs():
    inputs_BS, decoder_inputs_BT = tiny.batch()
    with pytest.raises(ValueError, match="give both or neither"):
        tiny.model(tiny.T5_1_1)(inputs_BS, decoder_inputs_BT, np.ones_like(inputs_BS))


@pytest.mark.parametrize(
    "version", ["1.1", *(pytest.param(version, marks=pytest.mark.slow) for version in ("1.0", "umT5"))]
)
def test_gradients_equal_finite_differences(version):
    model = tiny.model(tiny.FAMILY[version])
    inputs_BS, decoder_inputs_BT = tiny.batch()
    direction_BTV = np.random.default_rng(2).normal(size=(tiny.B, tiny.T, model.cfg.vocab_size))
    loss = jax.jit(lambda model: jnp.sum(model(inputs_BS, decoder_inputs_BT) * direction_BTV.astype(np.float32)))
    grads = jax.grad(loss)(model)
    # Along a random direction for each parameter; the differences are taken of the float64 oracle, whose rounding
    # does not drown them.
    leaves, structure = jax.tree.flatten(model)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(model)[0]]
    for index, (name, leaf, grad) in enumerate(zip(names, leaves, jax.tree.leaves(grads), strict=True)):
        step = np.random.default_rng(index).normal(size=leaf.shape)

        def value(sign, epsilon=1e-6, index=index, leaf=leaf, step=step):
            changed = [np.asarray(other, np.float64) for other in leaves]
            changed[index] = np.asarray(leaf, np.float64) + sign * epsilon * step
            oracle = jax.tree.unflatten(structure, changed)
            return np.sum(numpy_t5.forward(oracle, inputs_BS, decoder_inputs_BT) * direction_BTV)

        expected = (value(1) - value(-1)) / 2e-6
        actual = np.sum(np.asarray(grad, np.float64) * step)
        scale = np.linalg.norm(np.asarray(grad, np.float64)) + 1e-3
        assert abs(actual - expected) < 1e-4 * scale, name


def test_every_parameter_has_one_owner():
    model = tiny.model(tiny.T5_1_1)
    assert len(jax.tree.leaves(model)) == len(jax.tree.leaves(nnx.state(model)))


def test_parameters_are_float32_whatever_the_compute_dtype():
    shapes = jax.eval_shape(lambda: T5(dataclasses.replace(tiny.T5_1_1, dtype="bfloat16"), rngs=nnx.Rngs(0)))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_bfloat16_compute_gives_float32_logits_near_those_of_float32():
    inputs_BS, decoder_inputs_BT = tiny.batch()
    exact_BTV = tiny.logits(tiny.model(tiny.T5_1_1), inputs_BS, decoder_inputs_BT)
    rough = tiny.model(dataclasses.replace(tiny.T5_1_1, dtype="bfloat16"))
    assert jax.eval_shape(rough.encode, inputs_BS).dtype == jnp.bfloat16
    rough_BTV = tiny.logits(rough, inputs_BS, decoder_inputs_BT)
    assert rough_BTV.dtype == np.float32
    np.testing.assert_allclose(rough_BTV, exact_BTV, atol=0.15)
    assert np.abs(rough_BTV - exact_BTV).max() > 1e-3  # it really computed in bfloat16


def test_a_prediction_does_not_depend_on_later_targets():
    model = tiny.model(tiny.T5_1_1)
    inputs_BS, decoder_inputs_BT = tiny.batch()
    changed_BT = decoder_inputs_BT.copy()
    changed_BT[:, 4:] = 9
    before = tiny.logits(model, inputs_BS, decoder_inputs_BT)
    after = tiny.logits(model, inputs_BS, changed_BT)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert not np.allclose(before[:, 4:], after[:, 4:])


def test_padding_of_the_inputs_changes_nothing():
    model = tiny.model(tiny.T5_1_1)
    inputs_BS, decoder_inputs_BT = tiny.ids(tiny.B, tiny.S), tiny.batch()[1]
    padded_BS = np.pad(inputs_BS, ((0, 0), (0, 6)))
    np.testing.assert_allclose(
        tiny.logits(model, inputs_BS, decoder_inputs_BT),
        tiny.logits(model, padded_BS, decoder_inputs_BT),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("remat", "offload"), [("minimal", ()), ("full", ()), (("query", "mlp_wi_0"), ()), ("minimal", ("key", "mlp_wi_1"))]
)
def test_rematerialisation_and_offloading_change_no_gradient(remat, offload):
    inputs_BS, decoder_inputs_BT = tiny.batch()
    model = tiny.model(tiny.T5_1_1)

    def gradient(cfg):
        # The same parameters under another config.
        other = jax.tree.unflatten(
            jax.tree.structure(jax.eval_shape(lambda: T5(cfg, rngs=nnx.Rngs(0)))), jax.tree.leaves(model)
        )
        return jax.jit(jax.grad(lambda model: jnp.sum(model(inputs_BS, decoder_inputs_BT) ** 2)))(other)

    expected = jax.tree.leaves(gradient(tiny.T5_1_1))
    actual = jax.tree.leaves(gradient(dataclasses.replace(tiny.T5_1_1, remat=remat, offload=offload)))
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_less_is_kept_the_less_memory_a_gradient_takes():
    inputs_BS, decoder_inputs_BT = tiny.ids(16, 64), tiny.ids(16, 48)

    def residual_bytes(remat):
        model = jax.eval_shape(lambda: T5(dataclasses.replace(tiny.T5_1_1, remat=remat), rngs=nnx.Rngs(0)))
        # What the forward pass hands to the backward pass.
        _, backward = jax.eval_shape(lambda model: jax.vjp(lambda m: m(inputs_BS, decoder_inputs_BT), model), model)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

    kept = [residual_bytes(remat) for remat in ("none", "minimal", ("query",), "full")]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 4


def test_an_unknown_tensor_to_keep_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"train.remat names \['quary'\]: use some of query, "):
        T5(dataclasses.replace(tiny.T5_1_1, remat=("quary", "key")), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("version", ["1.1", "umT5"])
def test_cached_decoding_gives_the_logits_of_the_whole_prefix(version):
    model = tiny.model(tiny.FAMILY[version])
    inputs_BS, decoder_inputs_BT = tiny.batch()
    expected_BTV = tiny.logits(model, inputs_BS, decoder_inputs_BT)
    cache = model.init_cache(model.encode(inputs_BS), inputs_BS, num_steps=tiny.T + 2)
    step = jax.jit(lambda model, tokens_BK, cache: model.decode_step(tokens_BK, cache))
    for position in range(tiny.T):
        logits_B1V, cache = step(model, decoder_inputs_BT[:, position : position + 1], cache)
        np.testing.assert_allclose(logits_B1V[:, 0], expected_BTV[:, position], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("version", ["1.1", "umT5"])
def test_beams_that_share_a_cache_and_change_places_have_the_logits_of_their_own_prefixes(version):
    model, K, steps = tiny.model(tiny.FAMILY[version]), 2, 4
    inputs_BS, _ = tiny.batch()
    rng = np.random.default_rng(0)
    cache = model.init_cache(model.encode(inputs_BS), inputs_BS, num_steps=steps, num_beams=K)
    step = jax.jit(lambda model, tokens_BK, cache: model.decode_step(tokens_BK, cache))
    histories_BKT = np.zeros((tiny.B, K, steps), np.int32)
    for position in range(steps):
        if position:
            parents_BK = rng.integers(K, size=(tiny.B, K))
            histories_BKT = np.take_along_axis(histories_BKT, parents_BK[:, :, None], axis=1)
            histories_BKT[:, :, position] = rng.integers(2, 128, (tiny.B, K))
            cache = cache.reorder(parents_BK)
        logits_BKV, cache = step(model, histories_BKT[:, :, position], cache)
        for k in range(K):
            expected_BTV = tiny.logits(model, inputs_BS, histories_BKT[:, k])
            np.testing.assert_allclose(logits_BKV[:, k], expected_BTV[:, position], rtol=1e-5, atol=1e-5)


def test_dropout_needs_a_key_and_changes_with_it():
    cfg = dataclasses.replace(tiny.T5_1_1, dropout_rate=0.3)
    model = tiny.model(cfg)
    inputs_BS, decoder_inputs_BT = tiny.batch()
    dropped = jax.jit(lambda model, key: model(inputs_BS, decoder_inputs_BT, dropout_key=key))
    one, again, other = (dropped(model, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    evaluated = tiny.logits(model, inputs_BS, decoder_inputs_BT)
    np.testing.assert_array_equal(evaluated, tiny.logits(tiny.model(tiny.T5_1_1), inputs_BS, decoder_inputs_BT))
