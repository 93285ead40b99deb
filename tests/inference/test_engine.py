"""Tests t5x_lite/inference/engine.py"""

import dataclasses
import itertools

import numpy as np
import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.engine import (
    Request,
    answer_batch,
    batched,
    bucket,
    check_call,
    fill_in,
    pad_inputs,
    run_by_length,
    stream_answer,
)
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.encoder import SequenceClassifier
from t5x_lite.model.transformer import T5
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
PRETRAINED = Pretrained(tiny.drawn(T5, CFG), ByteTokenizer(100), CFG, 1)
TEXTS = ["one text", "another, which is longer", ""]
NEW = 7


def ask(texts, *, scores=False, batch_size=4, pretrained=PRETRAINED, **settings):
    config = GenerationConfig(**({"max_new_tokens": NEW} | settings))
    requests = [Request(text, config, stream) for stream, text in enumerate(texts)]
    return answer_batch(pretrained, requests, batch_size=batch_size, scores=scores)


def test_tokens_and_their_log_probabilities_make_the_text_and_the_score():
    for answer in ask(TEXTS, scores=True):
        (decoded,) = answer.sequences
        assert len(decoded.log_probs) == len(decoded.tokens) + decoded.ended
        np.testing.assert_allclose(decoded.score, sum(decoded.log_probs), rtol=1e-5)
    plain = [answer.sequences[0] for answer in ask(TEXTS)]
    assert [decoded.text for decoded in plain] == [a.sequences[0].text for a in ask(TEXTS, scores=True)]
    assert {(decoded.score, tuple(decoded.log_probs)) for decoded in plain} == {(None, ())}


def test_the_number_of_input_tokens_counts_eos():
    assert [answer.num_input_tokens for answer in ask(TEXTS)] == [len(text) + 1 for text in TEXTS]


@pytest.mark.slow
def test_requests_with_different_settings_are_answered_as_if_alone():
    configs = [
        GenerationConfig(max_new_tokens=NEW),
        GenerationConfig(max_new_tokens=3, temperature=0.7, top_p=0.8, seed=3),
        GenerationConfig(max_new_tokens=5, forced_prefix="ab", banned_tokens=(100, 101)),
    ]
    requests = [Request(text, config, stream=9) for text, config in zip(TEXTS, configs, strict=True)]
    together = answer_batch(PRETRAINED, requests, batch_size=4)
    alone = [answer_batch(PRETRAINED, [request], batch_size=1)[0] for request in requests]
    assert [a.sequences[0].text for a in together] == [a.sequences[0].text for a in alone]
    assert together[2].sequences[0].text.startswith("ab")


def test_an_answer_does_not_contain_its_stop_token():
    first = ask(TEXTS[2:], scores=True)[0].sequences[0]
    assert not first.ended
    token = first.tokens[1]
    stop = PRETRAINED.tokenizer.sentinel_id(int(token[len("<extra_id_") : -1]))
    expected = first.tokens[: first.tokens.index(token)]
    stopped = ask(TEXTS[2:], scores=True, stop_tokens=(stop,))[0].sequences[0]
    assert (stopped.tokens, stopped.ended) == (expected, True)


def test_the_requested_number_of_sequences_is_returned():
    for settings in ({"num_beams": 4, "num_return_sequences": 3}, {"temperature": 1.0, "num_return_sequences": 3}):
        (answer,) = ask(TEXTS[:1], scores=True, **settings)
        scores = [decoded.score for decoded in answer.sequences]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_a_stream_grows_to_the_answer():
    texts = list(stream_answer(PRETRAINED, Request(TEXTS[1], GenerationConfig(max_new_tokens=NEW))))
    assert texts[-1] == ask(TEXTS[1:2])[0].sequences[0].text
    assert len(texts) <= NEW
    assert all(len(before) <= len(after) + 1 for before, after in itertools.pairwise(texts))


def test_each_blank_gets_the_words_after_its_sentinel():
    prediction = "<extra_id_0> quick brown <extra_id_1> over<extra_id_2>"
    text = "The <extra_id_0> fox jumps <extra_id_1> the <extra_id_3> dog<extra_id_2>."
    assert fill_in(text, prediction) == "The quick brown fox jumps over the <extra_id_3> dog."


def test_a_sentinel_that_is_predicted_twice_counts_once():
    assert fill_in("a <extra_id_0> b", "<extra_id_0> one <extra_id_0> two") == "a one b"


def test_a_prediction_without_sentinels_changes_nothing():
    assert fill_in("a <extra_id_0> b", "words alone") == "a <extra_id_0> b"


@pytest.mark.parametrize("field", ["banned_tokens", "stop_tokens"])
def test_ids_beyond_the_vocabulary_are_refused(field):
    with pytest.raises(ValueError, match=rf"{field} has \[384\], but the model has ids below 384: leave them out"):
        ask(TEXTS[:1], **{field: (5, 384)})


def test_a_prefix_that_leaves_no_room_is_refused():
    with pytest.raises(ValueError, match="forced_prefix has 7 tokens and max_new_tokens is 7: use a larger one"):
        ask(TEXTS[:1], forced_prefix="1234567")


def test_a_classifier_answers_with_labels_and_their_probabilities():
    labels = ("bad", "good", "neither")
    model = tiny.drawn(SequenceClassifier, CFG, 3)
    pretrained = Pretrained(model, ByteTokenizer(100), CFG, 1, Architecture("sequence_classifier", labels))
    for answer in ask(TEXTS, pretrained=pretrained):
        assert answer.sequences[0].text == max(answer.probabilities, key=answer.probabilities.get)
        assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_few_lengths_are_compiled():
    assert [bucket(length) for length in (1, 16, 17, 33, 64, 65, 128, 129)] == [16, 16, 32, 64, 64, 128, 128, 192]
    inputs_BS = pad_inputs([[5, 0], [7]], 3, pad_id=2)
    assert inputs_BS.shape == (3, 16)
    assert inputs_BS[:, :3].tolist() == [[5, 0, 2], [7, 2, 2], [2, 2, 2]]


def test_the_last_batch_may_be_shorter():
    assert list(batched("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, None, "2"])
def test_a_batch_holds_at_least_one_example(batch_size):
    with pytest.raises(ValueError, match=rf"^batch_size is {batch_size!r}: use a whole number above 0"):
        check_call(PRETRAINED, batch_size)
    check_call(PRETRAINED, np.int64(3))


@pytest.mark.parametrize("model", ["my_run", None, 3])
def test_what_is_no_loaded_model_is_refused(model):
    with pytest.raises(TypeError, match=rf"^pretrained is of type {type(model).__name__}: pass what t5x_lite.load"):
        check_call(model, 8)


def test_items_run_longest_first_in_windows_and_return_in_order():
    seen = []

    def run(texts):
        seen.append(texts)
        return (text.upper() for text in texts)

    assert list(run_by_length(iter(["a", "ccc", "bb", "dd", "eee"]), run, length=len, window=3)) == [
        "A",
        "CCC",
        "BB",
        "DD",
        "EEE",
    ]
    assert seen == [["ccc", "bb", "a"], ["eee", "dd"]]
