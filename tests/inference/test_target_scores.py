"""Tests t5x_lite/inference/target_scores.py"""

import types

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.inference.target_scores import target_log_probs
from t5x_lite.model.embedding import Predictions
from t5x_lite.model.transformer import T5
from tests import tiny


def test_each_target_has_the_log_probability_the_model_gives_it():
    model = tiny.drawn(T5, tiny.T5_1_1)
    inputs_BS, decoder_inputs_BT = tiny.batch()
    targets_BT = tiny.ids(tiny.B, tiny.T, seed=3)
    weights_BT = (np.arange(tiny.T)[None] < np.array([[7], [3], [5]])).astype(np.int32)
    batch = {
        "encoder_input_tokens": inputs_BS,
        "decoder_input_tokens": decoder_inputs_BT,
        "decoder_target_tokens": targets_BT,
        "decoder_loss_weights": weights_BT,
    }
    logits_BTV = tiny.logits(model, inputs_BS, decoder_inputs_BT).astype(np.float64)
    log_probs_BTV = logits_BTV - np.log(np.exp(logits_BTV).sum(-1, keepdims=True))
    expected_BT = np.take_along_axis(log_probs_BTV, targets_BT[..., None], -1)[..., 0] * weights_BT
    np.testing.assert_allclose(target_log_probs(model, batch), expected_BT, rtol=1e-5, atol=1e-5)


def test_t5xs_published_scores_of_fixed_logits():
    # T5X `models_test.py`, score_batch: logits 0 to 23 as [2, 4, 3].
    logits_BTV = jnp.arange(24, dtype=jnp.float32).reshape(2, 4, 3)
    targets_BT = jnp.array([[1, 2, 1, 0], [0, 1, 0, 2]])
    weights_BT = jnp.array([[1, 1, 1, 0], [0, 1, 0, 1]])

    class Fixed(types.SimpleNamespace):
        def predict(self, batch):
            return Predictions(logits_BTV, jnp.eye(3), batch["targets"], batch["weights"])

    jax.tree_util.register_pytree_node(Fixed, lambda fixed: ((), None), lambda _, __: Fixed())
    scored = target_log_probs(Fixed(), {"targets": targets_BT, "weights": weights_BT}).sum(-1)
    np.testing.assert_allclose(scored, [-3.222973, -1.815315], rtol=1e-4)
