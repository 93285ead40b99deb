"""Tests t5x_lite/evaluation/evaluator.py"""

import jax
import numpy as np

from t5x_lite.data.converters import autoregressive_inputs, encoder_decoder
from t5x_lite.evaluation.evaluator import HeldOutSums, held_out_loss, held_out_sums
from tests import tiny


def test_the_loss_is_summed_over_all_targets_and_over_those_of_text():
    model = tiny.model(tiny.T5_1_1)
    inputs_BS = tiny.batch()[0]
    targets_BT = np.array([[127, 9, 20, 126, 30, 1, 0], [127, 40, 1, 0, 0, 0, 0], [0] * 7], np.int32)
    batch = encoder_decoder({"inputs": inputs_BS, "targets": targets_BT})
    sums = jax.device_get(held_out_sums(model, batch, eos_id=1, no_text=range(120, 128)))
    logits_BTV = tiny.logits(model, inputs_BS, autoregressive_inputs(targets_BT)).astype(np.float64)
    nats_BT = np.log(np.exp(logits_BTV).sum(-1)) - np.take_along_axis(logits_BTV, targets_BT[..., None], -1)[..., 0]
    is_text_BT = (targets_BT >= 2) & (targets_BT < 120)
    np.testing.assert_allclose(sums.nats, nats_BT[targets_BT > 0].sum(), rtol=1e-5)
    np.testing.assert_allclose(sums.text_nats, nats_BT[is_text_BT].sum(), rtol=1e-5)
    assert (sums.tokens, sums.text_tokens) == (9, 4)
    assert sums.num_correct == (logits_BTV.argmax(-1) == targets_BT)[targets_BT > 0].sum()


def test_a_collapsed_model_is_never_right():
    model = jax.tree.map(jax.numpy.zeros_like, tiny.model(tiny.T5_1_1))
    targets_BT = np.array([[127, 9, 1], [40, 1, 0], [126, 2, 1]], np.int32)
    batch = encoder_decoder({"inputs": tiny.batch()[0], "targets": targets_BT})
    sums = jax.device_get(held_out_sums(model, batch, eos_id=1, no_text=range(120, 128)))
    assert (sums.tokens, sums.num_correct) == (8, 0)


def test_batches_add_before_anyone_divides():
    losses = held_out_loss([HeldOutSums(6.0, 2, 1, 3.0, 1), HeldOutSums(2.0, 2, 2, 1.0, 3)])
    assert losses == {"eval/loss": 2.0, "eval/loss_text": 1.0, "eval/target_accuracy": 0.75}


def test_labels_have_no_loss_on_text():
    assert held_out_loss([HeldOutSums(6.0, 2, 1, 0.0, 0)], "x") == {
        "eval/x/loss": 3.0,
        "eval/x/target_accuracy": 0.5,
    }
