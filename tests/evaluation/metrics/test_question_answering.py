"""Tests t5x_lite/evaluation/metrics/question_answering.py

"Published" values are those of T5's `metrics_test.py` and `qa_utils_test.py` in `t5/evaluation`.
"""

import pytest

from t5x_lite.evaluation.metrics.question_answering import (
    coqa_f1,
    deduplicated_squad,
    normalize_squad,
    normalize_trivia_qa,
    span_squad,
    squad,
    trivia_qa,
)
from t5x_lite.evaluation.metrics.reference import Reference

TEXT = "this is a string"
BIG = [
    Reference("big moose", ("big moose", "hippo")),
    Reference("correct1"),
    Reference("correct2.1", ("correct2.1", "correct2.2")),
    Reference("a", ("a", "b")),
]
BIG_PREDICTIONS = ["‘a big  Moose!‘", "wrong", "correct2.2", "c"]


def close(em, f1, name="squad"):
    return {f"{name}/em": pytest.approx(em), f"{name}/f1": pytest.approx(f1)}


def test_normalisation_is_the_published_one():
    messy = "`Needs\tA_LOT of the 'normalization'.\"‘"
    assert normalize_squad(messy) == "needs alot of normalization‘"
    assert normalize_trivia_qa(messy) == "needs lot of normalization"
    assert normalize_squad("needs no normalization") == "needs no normalization"
    assert normalize_trivia_qa("needs no normalization") == "needs no normalization"


def test_articles_go_as_words_only():
    assert normalize_squad("The theatre, an Anagram and a banana") == "theatre anagram and banana"


def test_a_space_is_left_where_an_article_was():
    assert normalize_squad("x‘a‘y") == "x‘ ‘y"


@pytest.mark.parametrize("quote", "‘’´`_'")
def test_trivia_qa_parts_words_at_quotes_and_underscores(quote):
    assert normalize_trivia_qa(f"x{quote}y") == "x y"


def test_squad_of_the_same_text_is_the_published_one():
    assert squad([TEXT, TEXT], [Reference("", ("", TEXT)), Reference(TEXT, (TEXT, TEXT))]) == close(100, 100)


def test_squad_of_empty_predictions_is_the_published_one():
    assert squad(["", ""], [Reference(TEXT), Reference(TEXT, (TEXT, TEXT))]) == close(0, 0)


def test_squad_big_is_the_published_one():
    assert squad(BIG_PREDICTIONS, BIG) == close(25, 35)


def test_squad_small_is_the_published_one():
    assert squad(["abd"], [Reference("abc abd", ("abc abd", "$$$$"))]) == close(0, 100 * 2 / 3)


def test_trivia_qa_is_the_published_one():
    assert trivia_qa(BIG_PREDICTIONS, BIG) == close(50, 50, "trivia_qa")


def test_f1_is_of_precision_and_recall_of_the_words():
    # Two of three words are right, "cat" once only, and two of five words are found.
    assert squad(["cat sat cat"], [Reference("big cat sat on mats")]) == close(0, 100 * 2 * 2 / 8)


def test_the_answer_that_fits_best_counts_for_each_example():
    references = [Reference("q", ("one two", "one two three")), Reference("q", ("four five", "x"))]
    assert squad(["one two three four", "five"], references)["squad/f1"] == pytest.approx(100 * (6 / 7 + 2 / 3) / 2)


def test_an_answer_without_words_can_be_matched_but_has_no_f1():
    assert squad([""], [Reference("$$$")]) == close(100, 0)
    assert squad(["the"], [Reference("the")]) == close(100, 0)


def test_deduplicated_squad_judges_a_group_once():
    references = [
        Reference("x", ("x", "y"), group="1"),
        Reference("y", ("x", "y"), group="1"),
        Reference("y", ("x", "y"), group="1"),
        Reference("z w", group="2"),
    ]
    predictions = ["y", "y", "y", "z"]
    assert deduplicated_squad(predictions, references) == close(50, 100 * (1 + 2 / 3) / 2, "deduplicated_squad")
    assert squad(predictions, references)["squad/em"] == pytest.approx(75)


def test_deduplicated_squad_takes_the_first_prediction_and_the_answers_of_the_whole_group():
    references = [Reference("x", group="1"), Reference("y", group="2"), Reference("v", group="1")]
    assert deduplicated_squad(["v", "y", "x"], references) == close(100, 100, "deduplicated_squad")
    assert deduplicated_squad(["w", "y", "x"], references) == close(50, 50, "deduplicated_squad")


def test_deduplicated_squad_without_groups_is_squad():
    assert deduplicated_squad(BIG_PREDICTIONS, BIG) == close(25, 35, "deduplicated_squad")


CONTEXT = "this is a string! it has the answer."


# t5/evaluation/metrics_test.py, test_span_squad and the two after it
@pytest.mark.parametrize(
    ("prediction", "answers", "context", "value"),
    [
        ("start:2 end:3", ("", "a string"), CONTEXT, 100),
        ("start:2 end:3", ("a string", "a string"), CONTEXT, 100),
        ("start:1 end:1", ("answer",), "the answer", 100),
        ("start:test end:why", ("answer",), "the answer", 0),
        ("start: 7 end: 7", ("answer",), CONTEXT, 100),
        ("start: 7", ("answer",), CONTEXT, 0),
        ("", ("answer",), CONTEXT, 0),
        ("start: 90 end: 91", ("answer",), CONTEXT, 0),
    ],
)
def test_a_span_is_looked_up_in_its_context(prediction, answers, context, value):
    figures = span_squad([prediction], [Reference(answers[0], answers, context=context)])
    assert figures == pytest.approx({"span_squad/em": value, "span_squad/f1": value})


# t5/evaluation/metrics_test.py, test_coqa_f1
@pytest.mark.parametrize(
    ("answers", "predictions", "value"),
    [
        ([["jump box"], ["maru"]], ["jump", "cat"], 100 / 3),
        ([["jump the box"], ["maru"]], ["jump", "cat"], 100 / 3),
        ([["jump the box", "climb box"]], ["jump box"], 100),
        # The same file, test_sequence_f1.
        ([["the"]], ["a"], 100),
        ([[""]], ["cat"], 0),
        ([["cat"]], [""], 0),
        ([["dog"]], ["cat"], 0),
        ([["cat dog"]], ["cat"], 200 / 3),
        ([["cat"]], ["cat dog"], 200 / 3),
    ],
)
def test_coqas_f1_is_the_published_one(answers, predictions, value):
    references = [Reference(texts[0], tuple(texts)) for texts in answers]
    assert coqa_f1(predictions, references) == {"coqa_f1": pytest.approx(value)}
