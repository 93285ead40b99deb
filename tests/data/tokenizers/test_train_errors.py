"""Tests t5x_lite/data/tokenizers/train_errors.py"""

import re

import pytest

from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import fit_sentencepiece_model
from tests.data.tokenizers.test_train import NUM_SENTINELS, TEXTS


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize(("wrong", "hint"), [(9_000, r"supports at most (\d+)"), (12, r"alone need (\d+);")])
def test_a_vocabulary_the_text_does_not_support_is_refused_with_a_size_that_works(model_type, wrong, hint):
    def fit(size):
        return fit_sentencepiece_model(TEXTS, vocab_size=size, num_sentinels=NUM_SENTINELS, model_type=model_type)

    with pytest.raises(ValueError, match=f"vocab_size {wrong} ids.*{hint}") as caught:
        fit(wrong)
    works = int(re.findall(hint, str(caught.value))[0])
    assert SentencePieceTokenizer(fit(works), NUM_SENTINELS).vocab_size == works
