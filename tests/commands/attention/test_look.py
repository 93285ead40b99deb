"""Tests t5x_lite/commands/attention/look.py"""

import jax
import numpy as np
import pytest

from t5x_lite.commands.attention import look
from t5x_lite.commands.attention.look import look_at
from t5x_lite.inference.api import generate
from tests.commands.attention.models import LABELS, TOKENIZER, options, pretrained


def ids(text: str) -> list[int]:
    return [*TOKENIZER.encode(text), 1]


called = jax.jit(lambda model, *arguments: model(*arguments))  # at once: operation by operation takes seconds


def softmax(logits) -> np.ndarray:
    exp = np.exp(np.asarray(logits, np.float64))
    return exp / exp.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["encoder_decoder", pytest.param("causal_lm", marks=pytest.mark.slow), "prefix_lm"])
def test_without_a_target_each_step_chooses_the_most_probable_token(name):
    model = pretrained(name)
    contents = look_at(model, options())
    assert len(contents.steps) <= 6
    for step in contents.steps:
        assert step.chosen == step.candidates[0]
    assert contents.facts == {"text": "a cat", "chosen by the model": generate(model, ["a cat"], max_new_tokens=6)[0]}


def test_the_probabilities_of_a_target_are_those_of_the_t5():
    model = pretrained("encoder_decoder")
    contents = look_at(model, options(target="so"))
    assert contents.facts == {"text": "a cat", "target": "so"}
    logits_1TV = called(model.model, np.asarray([ids("a cat")]), np.asarray([[0, *TOKENIZER.encode("so")]]))
    expected_TV = softmax(logits_1TV)[0]
    assert [(step.place, step.reads, step.chosen.token) for step in contents.steps] == [
        (0, "<pad>", "s"),
        (1, "s", "o"),
        (2, "o", "</s>"),
    ]
    for step, token, expected_V in zip(contents.steps, ids("so"), expected_TV, strict=True):
        assert step.chosen.probability == pytest.approx(expected_V[token], rel=1e-4)
        best = np.sort(expected_V[: TOKENIZER.vocab_size])[::-1][:3]
        assert [one.probability for one in step.candidates] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("name", ["causal_lm", "prefix_lm"])
def test_a_decoder_predicts_the_target_after_the_prompt(name):
    model = pretrained(name)
    contents = look_at(model, options(target="so"))
    prompt = TOKENIZER.encode("a cat")
    inputs_1T = np.asarray([[0, *prompt, *TOKENIZER.encode("so")]])
    prefix_1T = np.asarray([[1] * (1 + len(prompt)) + [0, 0]]) if name == "prefix_lm" else None
    expected_TV = softmax(called(model.model, inputs_1T, prefix_1T))[0]
    assert [(step.place, step.reads, step.chosen.token) for step in contents.steps] == [
        (5, "t", "s"),
        (6, "s", "o"),
        (7, "o", "</s>"),
    ]
    for step, token in zip(contents.steps, ids("so"), strict=True):
        assert step.chosen.probability == pytest.approx(expected_TV[step.place, token], rel=1e-4)
    (one,) = contents.maps
    assert one.name == "decoder self-attention"
    assert one.queries == one.keys == ("<pad>", "a", "\u2581", "c", "a", "t", "s", "o")
    assert one.predicts == ("", "", "", "", "", "s", "o", "</s>")
    sees_ahead = one.weights_LNQK[..., 0, 5] > 0
    assert sees_ahead.all() if name == "prefix_lm" else not sees_ahead.any()


def test_a_masked_lm_predicts_each_hidden_token():
    model = pretrained("masked_lm")
    text = "a <extra_id_0>at<extra_id_0>"
    expected_SV = softmax(called(model.model, np.asarray([ids(text)])))[0]
    given = look_at(model, options(text=text, target="cs"))
    assert [(step.place, step.reads, step.chosen.token) for step in given.steps] == [
        (2, "<extra_id_0>", "c"),
        (5, "<extra_id_0>", "s"),
    ]
    for step, token in zip(given.steps, TOKENIZER.encode("cs"), strict=True):
        assert step.chosen.probability == pytest.approx(expected_SV[step.place, token], rel=1e-4)
    free = look_at(model, options(text=text))
    for step in free.steps:
        best = int(expected_SV[step.place, : TOKENIZER.vocab_size].argmax())
        assert step.chosen == step.candidates[0]
        assert step.chosen.probability == pytest.approx(expected_SV[step.place, best], rel=1e-4)
    assert look_at(model, options()).steps == ()


def test_a_sequence_classifier_has_one_step_of_labels():
    model = pretrained("sequence_classifier")
    expected_C = softmax(called(model.model, np.asarray([ids("a cat")])))[0]
    (step,) = look_at(model, options(target="odd")).steps
    assert (step.place, step.reads, step.chosen.token) == (-1, "", "odd")
    assert step.chosen.probability == pytest.approx(expected_C[3], rel=1e-4)
    contents = look_at(model, options())
    assert contents.steps[0].chosen == contents.steps[0].candidates[0]
    assert contents.facts["chosen by the model"] == LABELS[int(expected_C.argmax())]
    assert [one.token for one in contents.steps[0].candidates] == [LABELS[i] for i in np.argsort(-expected_C)[:3]]


def test_a_token_classifier_has_a_step_a_word():
    model = pretrained("token_classifier")
    expected_SC = softmax(called(model.model, np.asarray([ids("a cat")])))[0]
    contents = look_at(model, options(target="odd fair"))
    assert [(step.place, step.reads, step.chosen.token) for step in contents.steps] == [
        (0, "a", "odd"),
        (2, "c", "fair"),
    ]
    assert contents.steps[0].chosen.probability == pytest.approx(expected_SC[0, 3], rel=1e-4)
    assert contents.steps[1].chosen.probability == pytest.approx(expected_SC[2, 1], rel=1e-4)
    assert contents.maps[0].predicts == ("odd", "", "fair", "", "", "")
    assert contents.facts["target"] == "odd fair"


def test_the_maps_of_a_t5_have_the_tokens_that_are_read():
    encoder, decoder, cross = look_at(pretrained("encoder_decoder"), options(target="so")).maps
    inputs, read, predicts = ("a", "\u2581", "c", "a", "t", "</s>"), ("<pad>", "s", "o"), ("s", "o", "</s>")
    assert (encoder.name, encoder.queries, encoder.keys) == ("encoder self-attention", inputs, inputs)
    assert (decoder.name, decoder.queries, decoder.keys) == ("decoder self-attention", read, read)
    assert (cross.name, cross.queries, cross.keys) == ("cross-attention", read, inputs)
    assert encoder.predicts == ("",) * 6
    assert decoder.predicts == cross.predicts == predicts
    assert [one.weights_LNQK.shape for one in (encoder, decoder, cross)] == [(2, 3, 6, 6), (4, 3, 3, 3), (4, 3, 3, 6)]


def test_layers_and_heads_can_be_chosen():
    model = pretrained("encoder_decoder")
    whole = look_at(model, options(target="so")).maps
    encoder, decoder, cross = look_at(model, options(target="so", layers=(3, 1), heads=(2, 0))).maps
    for chosen, all_of_it, layers in zip((encoder, decoder, cross), whole, [(1,), (3, 1), (3, 1)], strict=True):
        assert (chosen.layers, chosen.heads) == (layers, (2, 0))
        expected = all_of_it.weights_LNQK[list(layers)][:, [2, 0]]
        np.testing.assert_array_equal(chosen.weights_LNQK, expected)
    names = [one.name for one in look_at(model, options(target="so", layers=(2,))).maps]
    assert names == ["decoder self-attention", "cross-attention"]  # the encoder has 2 layers


def test_a_page_that_would_be_too_large_is_refused_before_running_the_model(monkeypatch):
    # 6 x 6 in 2 layers of the encoder, 3 x 3 and 3 x 6 in 4 of the decoder, 3 heads.
    weights = 3 * (2 * 36 + 4 * (9 + 18))
    monkeypatch.setattr(look, "MAX_WEIGHTS", weights)
    look_at(pretrained("encoder_decoder"), options(target="so"))
    monkeypatch.setattr(look, "MAX_WEIGHTS", weights - 1)
    monkeypatch.setattr(look, "_run", None)
    with pytest.raises(ValueError, match=f"make {weights} weights, .* with --layers or --heads"):
        look_at(pretrained("encoder_decoder"), options(target="so"))
