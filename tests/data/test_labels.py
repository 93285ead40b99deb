"""Tests t5x_lite/data/labels.py"""

import dataclasses

import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.labels import SequenceLabels, TokenLabels, Words, labels_of
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model
from tests.data.test_converters import PAIRS

BYTES = ByteTokenizer(10)


@pytest.fixture(scope="module")
def pieces():
    """A SentencePiece vocabulary that has words, parts of words and single characters."""
    text = ["the cat sat on the mat", "a cart and a mast", "B-PER O I-PER"] * 40
    return SentencePieceTokenizer(train_sentencepiece_model(text, vocab_size=37, num_sentinels=10), 10)


def rows(tokenizer, inputs, targets, inputs_length, targets_length):
    def padded(texts, length):
        ids = [[*tokenizer.encode(text)[: length - 1], 1] for text in texts]
        return np.array([row + [0] * (length - len(row)) for row in ids], np.int32)

    return {"inputs": padded(inputs, inputs_length), "targets": padded(targets, targets_length)}


def test_words_of_bytes_begin_after_white_space():
    ids_BS = np.array([[*BYTES.encode(" ab  c\nä"), 1, 0]])
    assert Words(BYTES).starts(ids_BS).astype(int).tolist() == [[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0]]


@pytest.mark.parametrize("text", ["the cat sat", "a ~cart~ and ~~ mast", "on a mat the cast"])
def test_words_of_pieces_are_those_that_white_space_separates(pieces, text):
    ids_BS = np.array([[*pieces.encode(text), 1, 0, 0]], np.int32)
    (words,) = Words(pieces).split(ids_BS)
    assert len(words) == len(text.split()) == Words(pieces).starts(ids_BS).sum()
    known = [word for word in text.split() if "~" not in word]
    assert [pieces.decode(ids) for ids, word in zip(words, text.split(), strict=True) if "~" not in word] == known


def test_a_sequence_has_the_number_of_its_label(pieces):
    convert = SequenceLabels(("sat", "mat", "the cat"), pieces)
    features = convert(rows(pieces, ["a", "the", "a mast"], ["the cat", "sat", "mat"], 9, convert.targets_length))
    assert features["target_labels"].tolist() == [[2], [0], [1]]
    assert features["label_weights"].tolist() == [[1], [1], [1]]
    assert features["encoder_input_tokens"].shape == (3, 9)


def test_a_target_that_is_no_label_is_named():
    convert = SequenceLabels(("yes", "no"), BYTES)
    with pytest.raises(ValueError, match=r"the targets 'perhaps' are not among the 2 task.labels: add them"):
        convert(rows(BYTES, ["a"], ["perhaps"], 4, 9))


def test_labels_that_the_tokenizer_cannot_tell_apart_are_refused(pieces):
    with pytest.raises(ValueError, match=r"task.labels has '~' and '%', which encode to the same ids"):
        SequenceLabels(("~", "%"), pieces)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_each_word_has_a_label_at_its_first_token(kind, pieces):
    tokenizer = BYTES if kind == "bytes" else pieces
    convert = TokenLabels(("O", "B-PER", "I-PER"), tokenizer)
    batch = rows(tokenizer, ["the cat sat", "mat ~"], ["O B-PER I-PER", "B-PER O"], 20, 20)
    features = convert(batch)
    starts_BS = Words(tokenizer).starts(batch["inputs"])
    np.testing.assert_array_equal(features["label_weights"], starts_BS)
    assert features["target_labels"][0][starts_BS[0]].tolist() == [0, 1, 2]
    assert features["target_labels"][1][starts_BS[1]].tolist() == [1, 0]
    assert not features["target_labels"][~starts_BS].any()


def test_inputs_that_were_cut_lose_their_last_labels():
    convert = TokenLabels(("O", "X"), BYTES)
    features = convert(rows(BYTES, ["ab cd ef"], ["X O X"], 6, 9))
    assert features["label_weights"].tolist() == [[1, 0, 0, 1, 0, 0]]
    assert features["target_labels"].tolist() == [[1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("targets", ["X", "X O X"])
def test_another_number_of_labels_than_of_words_is_an_error(targets):
    with pytest.raises(ValueError, match=rf"begin with 'ab cd' have 2 words but {len(targets.split())} labels: give"):
        TokenLabels(("O", "X"), BYTES)(rows(BYTES, ["ab cd"], [targets], 9, 9))


def test_a_word_that_is_no_label_is_named():
    with pytest.raises(ValueError, match=r"the targets 'Y' are not among the 2 task.labels"):
        TokenLabels(("O", "X"), BYTES)(rows(BYTES, ["ab cd"], ["O Y"], 9, 9))


def test_a_label_of_a_word_is_one_word():
    with pytest.raises(ValueError, match=r"task.labels has 'not O', but model.architecture token_classifier needs"):
        TokenLabels(("O", "not O"), BYTES)


def test_the_labels_are_the_words_of_choices_unless_they_are_listed():
    task = TaskConfig(**PAIRS, choices={"1": "bad", "2": "bad", "5": "good"})
    assert labels_of({"": task}) == ("bad", "good")
    assert labels_of({"": dataclasses.replace(task, labels=("good", "bad"))}) == ("good", "bad")


def test_tasks_of_a_mixture_share_their_labels():
    one, other = (TaskConfig(**PAIRS, labels=labels) for labels in (("a", "b"), ("b", "a")))
    assert labels_of({"x": one, "y": one}) == ("a", "b")
    with pytest.raises(ValueError, match=r"task.labels of y and of x differ: a classifier has one list"):
        labels_of({"x": one, "y": other})
