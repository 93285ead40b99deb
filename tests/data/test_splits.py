"""Tests t5x_lite/data/splits.py."""

import numpy as np
import pytest

from t5x_lite.data.splits import split_by_hash


def test_a_documents_side_does_not_depend_on_the_others():
    documents = [(f"document {i}",) for i in range(2_000)]
    train, evaluation = split_by_hash(documents, 10.0)
    train_part, evaluation_part = split_by_hash(documents[500:], 10.0)
    assert sorted(train + evaluation) == sorted(documents)
    assert train_part == [text for text in train if text in set(train_part)]
    assert set(train_part) <= set(train)
    assert set(evaluation_part) <= set(evaluation)


def test_the_held_out_share_is_what_was_asked_for():
    documents = [(f"document {i}",) for i in range(10_000)]
    share = len(split_by_hash(documents, 5.0)[1]) / len(documents)
    np.testing.assert_allclose(share, 0.05, atol=4 * np.sqrt(0.05 * 0.95 / 10_000))


def test_the_split_is_the_same_for_ever():
    """Another hash would move held-out documents into the training text of old runs."""
    train, evaluation = split_by_hash([(f"document {i}",) for i in range(9)], 40.0)
    assert [text[-1] for (text,) in train] == list("231054")
    assert [text[-1] for (text,) in evaluation] == list("687")


def test_a_split_with_an_empty_side_is_refused():
    with pytest.raises(ValueError, match=r"task.eval_percent 0.1 leaves 2 documents to train on and 0 held out of 2"):
        split_by_hash([("one",), ("two",)], 0.1)


def test_pairs_with_the_same_inputs_are_on_the_same_side():
    pairs = [(f"inputs {i % 50}", f"targets {i}") for i in range(500)]
    train, evaluation = split_by_hash(pairs, 30.0)
    assert not {inputs for inputs, _ in train} & {inputs for inputs, _ in evaluation}
    assert len(train) + len(evaluation) == 500
