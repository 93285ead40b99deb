"""Tests t5x_lite/model/encoder.py"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.data.masked_lm import encoder_only
from t5x_lite.inference.predict import most_probable
from t5x_lite.model.encoder import Encoder, LabelHead, MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.kernels.cross_entropy import cross_entropy
from t5x_lite.model.transformer import T5
from tests import numpy_t5, tiny

B, S, C = tiny.B, tiny.S, 4
TIED = dataclasses.replace(tiny.UMT5, tie_embeddings=True, mlp_activations=("relu",))
VERSIONS = {"1.1": tiny.T5_1_1, "tied, with a table a layer": TIED}
SEGMENTS_BS = np.array([[1] * 4 + [2] * 5 + [0] * 2, [1] * 2 + [2] * 3 + [3] * 6, [1] * 11])
IS_TOKEN_BS = tiny.batch()[0] > 0
DROPPING = dataclasses.replace(tiny.T5_1_1, dropout_rate=0.5)
HEADS = (SequenceClassifier, TokenClassifier)

_called = jax.jit(lambda model, *arguments: model(*arguments))


def called(model, *arguments):
    return np.asarray(_called(model, *arguments))


def inputs():
    return tiny.batch()[0]


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-5)


def encoded(encoder):
    """What the oracle makes of each row's tokens without its padding, which it never sees; zeros stand there."""
    encoded_BSD = np.zeros((B, S, 20))
    for row, num_tokens in enumerate(IS_TOKEN_BS.sum(axis=1)):
        encoded_BSD[row, :num_tokens] = numpy_t5.encode(encoder, inputs()[[row], :num_tokens])[0]
    return encoded_BSD


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_without_their_padding_get_the_encoding_of_an_independent_numpy_encoder(version):
    encoder = tiny.drawn(Encoder, VERSIONS[version])
    close(called(encoder, inputs())[IS_TOKEN_BS], encoded(encoder)[IS_TOKEN_BS])


def test_packed_examples_get_the_encoding_they_get_alone_from_the_oracle():
    encoder, inputs_BS = tiny.drawn(Encoder, tiny.T5_1_1), tiny.ids(B, S) * (SEGMENTS_BS > 0)
    packed_BSD = called(encoder, inputs_BS, SEGMENTS_BS)
    for row, segment in [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (2, 1)]:
        alone = SEGMENTS_BS[row] == segment
        close(packed_BSD[row, alone], numpy_t5.encode(encoder, inputs_BS[[row]][:, alone])[0])


def test_its_parameters_are_those_of_a_t5s_encoder():
    of_t5 = tiny.names(jax.eval_shape(lambda: T5(tiny.T5_1_1, rngs=nnx.Rngs(0))))
    expected = {name for name in of_t5 if not name.startswith((".decoder", "['decoder']", ".logits", "['logits"))}
    encoder = tiny.drawn(Encoder, tiny.T5_1_1)
    assert set(tiny.names(encoder)) == expected
    assert encoder.encoder.blocks.mlp.wo.shape[0] == tiny.T5_1_1.num_encoder_layers


@pytest.mark.parametrize("version", VERSIONS)
def test_a_masked_model_predicts_from_the_encoding(version):
    model = tiny.drawn(MaskedLM, VERSIONS[version])
    tied = version != "1.1"
    kernel_DV = np.asarray(model.encoder.embedding).T / 20**0.5 if tied else np.asarray(model.logits_kernel)
    assert hasattr(model, "logits_kernel") is not tied
    close(called(model, inputs())[IS_TOKEN_BS], (encoded(model.encoder) @ kernel_DV)[IS_TOKEN_BS])


def test_the_loss_of_a_masked_model_needs_no_logits_and_has_a_gradient_for_every_parameter():
    hidden_BS = inputs()
    hidden_BS[:, 1] = 127
    targets_BS = tiny.ids(B, S, seed=1)
    batch = encoder_only({"inputs": hidden_BS, "targets": targets_BS}, mask_id=127)
    weights_BS = batch["encoder_loss_weights"].astype(np.float32)

    @jax.jit
    def sums_and_gradients(model):
        def loss(model):
            hidden_BSD = model.hidden(batch["encoder_input_tokens"])
            sums = cross_entropy(hidden_BSD, model.output_kernel(), targets_BS, weights_BS)
            return sums.loss, sums

        return jax.grad(loss, has_aux=True)(model)

    model = tiny.drawn(MaskedLM, tiny.T5_1_1)
    grads, sums = sums_and_gradients(model)
    tiny.assert_every_gradient(grads)
    logits_BSV = numpy_t5.encode(model.encoder, hidden_BS) @ np.asarray(model.logits_kernel)
    target_BS = np.take_along_axis(logits_BSV, targets_BS[..., None], -1)[..., 0]
    nats_BS = np.log(np.exp(logits_BSV).sum(-1)) - target_BS
    assert sums.weight == weights_BS.sum() >= B
    np.testing.assert_allclose(sums.cross_entropy, (nats_BS * weights_BS).sum(), rtol=1e-5)


def labelled(head, encoded_BD):
    return encoded_BD @ np.asarray(head.kernel) + np.asarray(head.bias)


def test_a_sequence_is_classified_by_the_mean_of_its_tokens_alone():
    model = tiny.drawn(SequenceClassifier, tiny.T5_1_1, C)
    pooled_BD = encoded(model.encoder).sum(axis=1) / IS_TOKEN_BS.sum(axis=1)[:, None]
    logits_BC = called(model, inputs())
    assert logits_BC.shape == (B, C)
    close(logits_BC, labelled(model.classifier, pooled_BD))


def test_a_sequence_of_padding_alone_is_classified_by_the_bias():
    model, nothing_BS = tiny.drawn(SequenceClassifier, tiny.T5_1_1, C), inputs()
    nothing_BS[1] = 0
    np.testing.assert_array_equal(called(model, nothing_BS)[1], model.classifier.bias)


@pytest.mark.parametrize("kind", HEADS)
def test_of_equally_probable_labels_the_first_is_predicted_and_alone_is_right(kind):
    model = jax.tree.map(jnp.zeros_like, tiny.drawn(kind, tiny.T5_1_1, C))
    shape = (B, 1) if kind is SequenceClassifier else (B, S)
    batch = {"encoder_input_tokens": inputs(), "label_weights": np.ones(shape, np.int32)}
    for label in range(C):
        hidden, kernel, labels, weights = model.predict(batch | {"target_labels": np.full(shape, label, np.int32)})
        right = cross_entropy(hidden, kernel, labels, weights).num_correct
        assert right == (most_probable(model, inputs()) == label).sum() == (np.prod(shape) if label == 0 else 0)


def test_a_token_is_classified_by_its_encoding():
    model = tiny.drawn(TokenClassifier, tiny.T5_1_1, C)
    logits_BSC = called(model, inputs())
    assert logits_BSC.shape == (B, S, C)
    close(logits_BSC[IS_TOKEN_BS], labelled(model.classifier, encoded(model.encoder))[IS_TOKEN_BS])


def test_a_token_is_classified_within_its_example_of_a_packed_row():
    model, inputs_BS = tiny.drawn(TokenClassifier, tiny.T5_1_1, C), tiny.ids(B, S) * (SEGMENTS_BS > 0)
    expected = labelled(model.classifier, numpy_t5.encode(model.encoder, inputs_BS, SEGMENTS_BS))
    close(called(model, inputs_BS, SEGMENTS_BS)[SEGMENTS_BS > 0], expected[SEGMENTS_BS > 0])


@pytest.mark.parametrize("kind", [SequenceClassifier, pytest.param(TokenClassifier, marks=pytest.mark.slow)])
def test_every_parameter_of_a_classifier_has_a_gradient(kind):
    model = tiny.drawn(kind, tiny.T5_1_1, C)
    shape = jax.eval_shape(_called, model, inputs()).shape
    direction = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    tiny.assert_every_gradient(jax.jit(jax.grad(lambda model: jnp.sum(model(inputs()) * direction)))(model))


@pytest.mark.parametrize("kind", HEADS)
def test_there_is_at_least_one_label(kind):
    with pytest.raises(ValueError, match="num_labels is 0: use a positive number"):
        jax.eval_shape(lambda: kind(tiny.T5_1_1, 0, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("kind", "arguments"), [(Encoder, ()), (MaskedLM, ()), (SequenceClassifier, (C,)), (TokenClassifier, (C,))]
)
def test_every_parameter_has_one_owner(kind, arguments):
    model = tiny.drawn(kind, TIED, *arguments)
    assert len(jax.tree.leaves(model)) == len(jax.tree.leaves(nnx.state(model)))


def test_a_key_reaches_the_dropout_of_the_encoder_and_that_of_the_head():
    plain = tiny.drawn(SequenceClassifier, tiny.T5_1_1, C)
    dropping_encoder, dropping_head = tiny.with_dropout(plain.encoder, 0.5), tiny.drawn(LabelHead, DROPPING, C)
    classified = jax.jit(lambda model, key: model(inputs(), dropout_key=key))
    for encoder, head in ((dropping_encoder, plain.classifier), (plain.encoder, dropping_head)):
        model = jax.tree.map(lambda leaf: leaf, plain)
        model.encoder, model.classifier = encoder, head
        one, again, other = (classified(model, jax.random.key(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert not np.allclose(one, other)


def test_a_head_drops_elements_of_each_token_of_each_sequence_on_its_own():
    head, ones_BSD = tiny.drawn(LabelHead, DROPPING, C), jnp.ones((B, S, 20))
    logits_BSC = np.asarray(head(ones_BSD, jax.random.key(0)))
    assert len(np.unique(logits_BSC.reshape(B * S, C).round(5), axis=0)) == B * S
    close(head(ones_BSD)[0, 0], head(ones_BSD)[2, 5])


def test_a_head_starts_with_the_spread_of_its_inputs_and_no_bias():
    cfg = dataclasses.replace(tiny.T5_1_1, emb_dim=400)
    head = LabelHead(cfg, 50, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.std(head.kernel[...]), 400**-0.5, rtol=0.02)
    np.testing.assert_array_equal(head.bias[...], np.zeros(50))


@pytest.mark.parametrize("kind", HEADS)
def test_labels_are_float32_whatever_the_compute_dtype(kind):
    cfg = dataclasses.replace(tiny.T5_1_1, dtype="bfloat16")
    model = jax.eval_shape(lambda: kind(cfg, C, rngs=nnx.Rngs(0)))
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype("float32")}
    assert jax.eval_shape(lambda model: model.encoder(inputs()), model).dtype == jnp.bfloat16
    assert jax.eval_shape(lambda model: model(inputs()), model).dtype == jnp.float32
