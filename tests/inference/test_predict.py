"""Tests t5x_lite/inference/predict.py"""

import dataclasses

import jax
import numpy as np
import pytest

from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.predict import label_probabilities, predict
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.transformer import T5
from tests import tiny

BYTES = ByteTokenizer(10)
CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
LABELS = ("bad", "good", "neither")
TEXTS = ["ab cd", "", "the longest"]
NEW = 4


def inputs():
    ids = [[*BYTES.encode(text), 1] for text in TEXTS]
    return np.array([row + [0] * (13 - len(row)) for row in ids], np.int32)


def test_an_encoder_decoder_predicts_its_greedy_output():
    model = tiny.drawn(T5, CFG)
    predictions = predict(model, Architecture(), inputs(), BYTES, NEW)
    for text, found in zip(inputs(), predictions, strict=True):
        decoder_inputs_1T = np.zeros((1, NEW + 1), np.int32)
        for place in range(NEW):
            logits_V = tiny.logits(model, text[None], decoder_inputs_1T)[0, place, : BYTES.vocab_size]
            decoder_inputs_1T[0, place + 1] = np.argmax(logits_V)
        assert found == BYTES.decode(decoder_inputs_1T[0, 1:])


@pytest.mark.parametrize("name", [pytest.param("causal_lm", marks=pytest.mark.slow), "prefix_lm"])
def test_a_decoder_continues_the_inputs_without_their_eos(name):
    model = tiny.drawn(Decoder, CFG)
    answers = predict(model, Architecture(name), inputs(), BYTES, NEW)
    logits = jax.jit(model)
    for text, found in zip(TEXTS, answers, strict=True):
        ids = [0, *BYTES.encode(text)]
        prefix_1P = np.ones((1, len(ids)), np.int32)
        for _ in range(NEW):
            padded_1T = np.array([[*ids, *[0] * (20 - len(ids))]], np.int32)
            prefix_1T = np.pad(prefix_1P, ((0, 0), (0, 20 - prefix_1P.shape[1])))
            logits_1TV = logits(padded_1T, prefix_1T if name == "prefix_lm" else None)
            ids.append(int(np.argmax(logits_1TV[0, len(ids) - 1, : BYTES.vocab_size])))
            if ids[-1] == 1:
                break
        assert found == BYTES.decode(ids[len(BYTES.encode(text)) + 1 :])


def test_a_masked_language_model_fills_in_only_the_masks():
    model, inputs_BS = tiny.drawn(MaskedLM, CFG), inputs()
    inputs_BS[0, 1], inputs_BS[2, 3] = BYTES.sentinel_id(0), BYTES.sentinel_id(0)
    answers = predict(model, Architecture("masked_lm"), inputs_BS, BYTES, NEW)
    expected_BS = inputs_BS.copy()
    logits_BSV = np.asarray(model(inputs_BS))[..., : BYTES.vocab_size]
    for b, s in ((0, 1), (2, 3)):
        expected_BS[b, s] = np.argmax(logits_BSV[b, s])
    assert answers == BYTES.decode_batch(expected_BS)
    assert answers[1] == ""


def test_a_sequence_classifier_answers_with_its_most_probable_label():
    model, inputs_BS = tiny.drawn(SequenceClassifier, CFG, 3), inputs()
    answers = predict(model, Architecture("sequence_classifier", LABELS), inputs_BS, BYTES, NEW)
    logits_BC = np.asarray(model(inputs_BS)).astype(np.float64)
    assert answers == [LABELS[c] for c in logits_BC.argmax(-1)]
    expected_BC = np.exp(logits_BC) / np.exp(logits_BC).sum(-1, keepdims=True)
    for row, shares_C in zip(label_probabilities(model, inputs_BS, LABELS), expected_BC, strict=True):
        assert row == pytest.approx(dict(zip(LABELS, shares_C, strict=True)), rel=1e-5)


def test_a_token_classifier_answers_with_a_label_a_word():
    model, inputs_BS = tiny.drawn(TokenClassifier, CFG, 3), inputs()
    answers = predict(model, Architecture("token_classifier", LABELS), inputs_BS, BYTES, NEW)
    chosen_BS = np.asarray(model(inputs_BS)).argmax(-1)
    words = [[chosen_BS[0, 0], chosen_BS[0, 3]], [], [chosen_BS[2, 0], chosen_BS[2, 4]]]
    assert answers == [" ".join(LABELS[c] for c in row) for row in words]
