"""Tests t5x_lite/model/encoder.py."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.data.converters import encoder_only
from t5x_lite.kernels.cross_entropy import cross_entropy
from t5x_lite.model.encoder import Encoder, LabelHead, MaskedLM, SequenceClassifier, TokenClassifier
from tests import numpy_t5, tiny

B, S, C = tiny.B, tiny.S, 4
TIED = dataclasses.replace(tiny.UMT5, tie_embeddings=True, mlp_activations=("relu",))
BOTH = {"1.1": tiny.T5_1_1, "tied, with a table a layer": TIED}
SEGMENTS_BS = np.array([[1] * 4 + [2] * 5 + [0] * 2, [1] * 2 + [2] * 3 + [3] * 6, [1] * 11])
HEADS = (SequenceClassifier, TokenClassifier)


@functools.cache
def built(kind, cfg=tiny.T5_1_1, *arguments):
    return jax.jit(lambda: kind(cfg, *arguments, rngs=nnx.Rngs(0)))()


_called = jax.jit(lambda model, *arguments: model(*arguments))
_dropped = jax.jit(lambda model, inputs_BS, key: model(inputs_BS, dropout_key=key))


def called(model, *arguments):
    return np.asarray(_called(model, *arguments))


def inputs():
    return tiny.batch()[0]


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("version", BOTH)
def test_the_encoding_equals_an_independent_numpy_encoder(version):
    encoder = built(Encoder, BOTH[version])
    close(called(encoder, inputs()), numpy_t5.encode(encoder, inputs()))


def test_a_packed_encoding_equals_an_independent_numpy_encoder():
    encoder, inputs_BS = built(Encoder), tiny.ids(B, S) * (SEGMENTS_BS > 0)
    is_token_BS = SEGMENTS_BS > 0
    expected = numpy_t5.encode(encoder, inputs_BS, SEGMENTS_BS)
    close(called(encoder, inputs_BS, SEGMENTS_BS)[is_token_BS], expected[is_token_BS])


def test_packed_examples_get_the_encoding_they_get_alone():
    encoder, inputs_1S = built(Encoder), tiny.ids(1, 8)
    packed_1SD = called(encoder, inputs_1S, np.array([[1] * 4 + [2] * 4]))
    alone = [called(encoder, inputs_1S[:, part], np.ones((1, 4), int)) for part in (slice(0, 4), slice(4, 8))]
    close(packed_1SD, np.concatenate(alone, axis=1))


def test_padding_changes_nothing():
    encoder, inputs_BS = built(Encoder), tiny.ids(B, S)
    padded_BS = np.pad(inputs_BS, ((0, 0), (0, 6)))
    close(called(encoder, padded_BS)[:, :S], called(encoder, inputs_BS))


def test_it_encodes_as_the_t5_whose_parameters_it_takes():
    t5, structure = tiny.model(tiny.T5_1_1), jax.tree.structure(built(Encoder))
    of_t5 = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(t5)[0]}
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(built(Encoder))[0]]
    encoder = jax.tree.unflatten(structure, [of_t5[name] for name in names])
    close(called(encoder, inputs()), t5.encode(inputs()))


@pytest.mark.parametrize("version", BOTH)
def test_a_masked_model_predicts_from_the_encoding(version):
    model = built(MaskedLM, BOTH[version])
    encoded_BSD = numpy_t5.encode(model.encoder, inputs())
    kernel_DV = np.asarray(model.encoder.embedding).T / 20**0.5 if version != "1.1" else np.asarray(model.logits_kernel)
    assert hasattr(model, "logits_kernel") == (version == "1.1")
    close(called(model, inputs()), encoded_BSD @ kernel_DV)


def test_the_loss_of_a_masked_model_needs_no_logits():
    model = built(MaskedLM)
    rows = {"inputs": inputs(), "targets": tiny.ids(B, S, seed=1)}
    rows["inputs"][:, 1] = 127
    batch = encoder_only(rows, mask_id=127)
    weights_BS = batch["encoder_loss_weights"].astype(np.float32)
    hidden_BSD = model.hidden(batch["encoder_input_tokens"])
    sums = cross_entropy(hidden_BSD, model.output_kernel(), batch["encoder_target_tokens"], weights_BS)
    log_p_BSV = jax.nn.log_softmax(called(model, batch["encoder_input_tokens"]))
    expected = -sum(log_p_BSV[row, 1, rows["targets"][row, 1]] for row in range(B))
    assert sums.weight >= B
    np.testing.assert_allclose(sums.cross_entropy, expected, rtol=1e-5)


def with_a_bias(model):
    """The model with a head whose bias is not zero, as it starts."""
    model = jax.tree.map(lambda leaf: leaf, model)
    model.classifier.bias[...] = jnp.array([0.5, -1.0, 2.0, 0.25])
    return model


def test_a_sequence_is_classified_by_the_mean_of_its_tokens():
    model = with_a_bias(built(SequenceClassifier, tiny.T5_1_1, C))
    encoded_BSD = numpy_t5.encode(model.encoder, inputs())
    pooled_BD = np.stack([encoded_BSD[row, : (inputs()[row] > 0).sum()].mean(axis=0) for row in range(B)])
    expected = pooled_BD @ np.asarray(model.classifier.kernel) + np.asarray(model.classifier.bias)
    assert called(model, inputs()).shape == (B, C)
    close(called(model, inputs()), expected)


def test_a_sequence_of_padding_alone_is_classified_by_the_bias():
    model = with_a_bias(built(SequenceClassifier, tiny.T5_1_1, C))
    nothing_BS = inputs()
    nothing_BS[1] = 0
    np.testing.assert_array_equal(called(model, nothing_BS)[1], model.classifier.bias)


def test_a_token_is_classified_by_its_encoding():
    model = with_a_bias(built(TokenClassifier, tiny.T5_1_1, C))
    encoded_BSD = numpy_t5.encode(model.encoder, inputs())
    expected = encoded_BSD @ np.asarray(model.classifier.kernel) + np.asarray(model.classifier.bias)
    assert called(model, inputs()).shape == (B, S, C)
    close(called(model, inputs()), expected)


def test_a_token_is_classified_within_its_example_of_a_packed_row():
    model = built(TokenClassifier, tiny.T5_1_1, C)
    inputs_BS = tiny.ids(B, S) * (SEGMENTS_BS > 0)
    expected = numpy_t5.encode(model.encoder, inputs_BS, SEGMENTS_BS) @ np.asarray(model.classifier.kernel)
    close(called(model, inputs_BS, SEGMENTS_BS)[SEGMENTS_BS > 0], expected[SEGMENTS_BS > 0])


@pytest.mark.parametrize("kind", HEADS)
def test_a_classifier_ignores_padding(kind):
    model, inputs_BS = built(kind, tiny.T5_1_1, C), tiny.ids(B, S)
    padded = called(model, np.pad(inputs_BS, ((0, 0), (0, 6))))
    close(padded if kind is SequenceClassifier else padded[:, :S], called(model, inputs_BS))


@pytest.mark.parametrize("kind", HEADS)
def test_there_is_at_least_one_label(kind):
    with pytest.raises(ValueError, match="num_labels is 0: use a number above 0"):
        jax.eval_shape(lambda: kind(tiny.T5_1_1, 0, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(("kind", "arguments"), [(MaskedLM, ()), (SequenceClassifier, (C,)), (TokenClassifier, (C,))])
def test_every_gradient_is_finite_and_none_is_zero(kind, arguments):
    model = built(kind, tiny.T5_1_1, *arguments)
    out = jax.eval_shape(lambda model: model(inputs()), model)
    direction = np.random.default_rng(2).normal(size=out.shape).astype(np.float32)
    grads = jax.jit(jax.grad(lambda model: jnp.sum(model(inputs()) * direction)))(model)
    for path, grad in jax.tree_util.tree_flatten_with_path(grads)[0]:
        name = jax.tree_util.keystr(path)
        assert np.isfinite(grad).all(), name
        layers = np.asarray(grad) if "blocks" in name else np.asarray(grad)[None]
        assert all(layer.any() for layer in layers), name


@pytest.mark.parametrize(
    ("kind", "arguments"), [(Encoder, ()), (MaskedLM, ()), (SequenceClassifier, (C,)), (TokenClassifier, (C,))]
)
def test_every_parameter_has_one_owner(kind, arguments):
    model = jax.eval_shape(lambda: kind(TIED, *arguments, rngs=nnx.Rngs(0)))
    assert len(jax.tree.leaves(model)) == len(jax.tree.leaves(nnx.state(model)))


def test_dropout_needs_a_key_and_changes_with_it():
    def dropping(kind, *arguments):
        cfg = dataclasses.replace(tiny.T5_1_1, dropout_rate=0.3)
        structure = jax.tree.structure(jax.eval_shape(lambda: kind(cfg, *arguments, rngs=nnx.Rngs(0))))
        return jax.tree.unflatten(structure, jax.tree.leaves(built(kind, tiny.T5_1_1, *arguments)))

    model = dropping(SequenceClassifier, C)
    one, again, other = (_dropped(model, inputs(), jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert not np.allclose(one, called(model, inputs()))


def test_a_head_drops_elements_of_each_token_of_each_sequence_on_its_own():
    cfg = dataclasses.replace(tiny.T5_1_1, dropout_rate=0.5)
    head = LabelHead(cfg, C, rngs=nnx.Rngs(0))
    logits_BSC = np.asarray(head(jnp.ones((B, S, 20)), jax.random.key(0)))
    assert len(np.unique(logits_BSC.reshape(B * S, C).round(5), axis=0)) == B * S
    np.testing.assert_array_equal(head(jnp.ones((B, S, 20)))[0, 0], head(jnp.ones((B, S, 20)))[2, 5])


@pytest.mark.parametrize("kind", HEADS)
def test_labels_are_float32_whatever_the_compute_dtype(kind):
    cfg = dataclasses.replace(tiny.T5_1_1, dtype="bfloat16")
    model = jax.eval_shape(lambda: kind(cfg, C, rngs=nnx.Rngs(0)))
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype("float32")}
    assert jax.eval_shape(lambda model: model.encoder(inputs()), model).dtype == jnp.bfloat16
    assert jax.eval_shape(lambda model: model(inputs()), model).dtype == jnp.float32
