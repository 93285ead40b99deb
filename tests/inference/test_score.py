"""Tests t5x_lite/inference/score.py"""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference import score
from t5x_lite.inference.loop import greedy_ids
from t5x_lite.inference.score import target_log_probs
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.embedding import Predictions
from t5x_lite.model.transformer import T5
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)


@pytest.fixture(scope="module")
def pretrained():
    return Pretrained(tiny.model(CFG), ByteTokenizer(100), CFG, 1)


def test_scores_are_log_likelihoods_of_targets_in_any_batch(pretrained):
    inputs, targets = ["a", "some longer text", "b"], ["yes", "", "no, never"]
    together = score.score(pretrained, inputs, targets, batch_size=2)
    for one, given, target in zip(together, inputs, targets, strict=True):
        (alone,) = score.score(pretrained, [given], [target], batch_size=1)
        assert len(one.log_probs) == len(target) + 1
        assert one.log_likelihood == pytest.approx(alone.log_likelihood, rel=1e-5)
        assert one.perplexity == pytest.approx(2.718281828 ** (-one.log_likelihood / len(one.log_probs)))
    with pytest.raises(ValueError, match="there are 3 inputs and 2 targets"):
        score.score(pretrained, inputs, targets[:2])


@pytest.mark.parametrize("keeps_eos", [True, False])
@pytest.mark.parametrize("name", ["prefix_lm", "causal_lm"])
def test_a_decoder_scores_and_continues_what_it_was_trained_to_read(name, keeps_eos):
    model, tokenizer = tiny.drawn_by_name(name, CFG, seed=4), ByteTokenizer(100)
    architecture = Architecture(name, keeps_eos=keeps_eos)
    prompt = [0, *tokenizer.encode("in"), *([1] if keeps_eos else [])]
    target = [*tokenizer.encode("out"), 1]
    inputs_1T = np.array([prompt + target[:-1]])
    prefix_1T = (np.arange(inputs_1T.shape[1]) < len(prompt)).astype(np.int32)[None]
    logits_1TV = model(inputs_1T, prefix_1T if name == "prefix_lm" else None)
    log_probs_TV = jax.nn.log_softmax(logits_1TV)[0, len(prompt) - 1 :]
    (scored,) = score.score(Pretrained(model, tokenizer, CFG, 1, architecture), ["in"], ["out"], batch_size=1)
    np.testing.assert_allclose(scored.log_probs, log_probs_TV[np.arange(4), target], rtol=1e-4, atol=1e-5)
    inputs_BS = np.array([[*tokenizer.encode("in"), 1, 0]])
    ((token,),) = greedy_ids(model, architecture, inputs_BS, tokenizer, 1)
    assert token == int(np.argmax(log_probs_TV[0, : tokenizer.vocab_size]))


def test_the_best_choice_is_the_most_probable_one(pretrained):
    inputs, choices = ["a", "some longer text"], ["a", "bb", "zz z"]
    for by_token in (False, True):
        ranked = score.rank(pretrained, inputs, choices, by_token=by_token, batch_size=4)
        for text, ranking in zip(inputs, ranked, strict=True):
            alone = [score.score(pretrained, [text], [choice], batch_size=1)[0] for choice in choices]
            values = [one.log_likelihood / (len(one.log_probs) if by_token else 1) for one in alone]
            assert ranking.best == choices[values.index(max(values))]
            assert list(ranking.scores) == choices
            for one, expected in zip(ranking.scores.values(), alone, strict=True):
                assert one.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-5)
    by_sum, by_token = (score.rank(pretrained, inputs, choices, by_token=by_token)[0].best for by_token in (0, 1))
    assert by_sum != by_token  # long answers are less probable as a whole


@pytest.mark.parametrize("choices", [[], ["yes", "no", "yes"]])
def test_choices_that_cannot_be_told_apart_are_refused(pretrained, choices):
    with pytest.raises(ValueError, match="give at least one, and each once"):
        score.rank(pretrained, ["a"], choices)


def test_one_text_is_refused_where_a_list_is_meant(pretrained):
    with pytest.raises(TypeError, match=r"^choices is a single text, 'no': pass a list"):
        score.rank(pretrained, ["q"], "no")
    with pytest.raises(TypeError, match=r"^inputs is a single text, 'q'"):
        score.rank(pretrained, "q", ["yes", "no"])
    with pytest.raises(TypeError, match=r"^inputs is a single text, 'ab'"):
        score.score(pretrained, "ab", ["c", "d"])
    with pytest.raises(TypeError, match=r"^targets is a single text, b'cd'"):
        score.score(pretrained, ["a", "b"], b"cd")


def test_what_cannot_be_scored_is_refused(pretrained):
    with pytest.raises(ValueError, match="batch_size is 0"):
        score.score(pretrained, ["a"], ["b"], batch_size=0)
    with pytest.raises(TypeError, match="pretrained is of type str"):
        score.rank("my_run", ["a"], ["b"])  # type: ignore[arg-type]


def test_generators_and_arrays_of_texts_are_ranked_like_lists(pretrained):
    choices = ["yes", "no way"]
    expected = score.rank(pretrained, ["a", "b c"], choices)
    assert score.rank(pretrained, iter(["a", "b c"]), np.array(choices)) == expected


def test_a_model_that_does_not_decode_scores_nothing(pretrained):
    encoder = pretrained._replace(architecture=Architecture("masked_lm"))
    with pytest.raises(ValueError, match="the model is a masked_lm, which has no targets to score"):
        score.score(encoder, ["a"], ["b"])


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
