"""Tests t5x_lite/inference/score.py"""

import dataclasses

import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.data.tokenizers import ByteTokenizer
from t5x_lite.inference import score
from t5x_lite.model.architectures import Architecture
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


def test_a_model_that_does_not_decode_scores_nothing(pretrained):
    encoder = pretrained._replace(architecture=Architecture("masked_lm"))
    with pytest.raises(ValueError, match="the model is a masked_lm, which has no targets to score"):
        score.score(encoder, ["a"], ["b"])
