"""Tests t5x_lite/evaluation/metrics/ngrams.py "Published" values are those of T5's `t5/evaluation/metrics_test.py`."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.evaluation.metrics.ngrams import bleu, rouge
from t5x_lite.evaluation.metrics.reference import Reference

TEXT = "this is a string"
WORDS = st.lists(st.sampled_from(["a", "b", "c", ".", "\n", "Ä", "好", "100%"]), max_size=9).map(" ".join)
EXAMPLES = st.tuples(WORDS, st.builds(Reference, WORDS, st.lists(WORDS, max_size=3).map(tuple)))


@pytest.fixture(scope="module")
def sacrebleu():
    return pytest.importorskip("sacrebleu", reason="sacrebleu comes with the extra eval")


@pytest.fixture(scope="module")
def rouge_score():
    return pytest.importorskip("rouge_score", reason="rouge-score comes with the extra eval")


def scores(rouge1, rouge2, rouge_lsum):
    return {
        "rouge1": pytest.approx(rouge1),
        "rouge2": pytest.approx(rouge2),
        "rougeLsum": pytest.approx(rouge_lsum),
    }


def of_precisions(*precisions):
    return pytest.approx(100 * math.prod(precisions) ** (1 / 4))


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_is_the_published_one():
    assert bleu([TEXT, TEXT], [Reference(TEXT)] * 2) == {"bleu": pytest.approx(100)}
    assert bleu(["", ""], [Reference(TEXT)] * 2) == {"bleu": pytest.approx(0)}
    both = [Reference(TEXT, ("", TEXT)), Reference(TEXT, (TEXT, ""))]
    assert bleu([TEXT, TEXT], both) == {"bleu": pytest.approx(100)}


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_is_the_geometric_mean_of_the_precisions():
    assert bleu(["a b c d e"], [Reference("a b c d f")])["bleu"] == of_precisions(4 / 5, 3 / 4, 2 / 3, 1 / 2)


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_is_of_the_whole_set():
    predictions, references = ["a b c d e", "v w x y z u"], [Reference("a b c d f"), Reference("v w x y z t")]
    assert bleu(predictions, references)["bleu"] == of_precisions(9 / 11, 7 / 9, 5 / 7, 3 / 5)


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_punishes_brevity_by_the_reference_of_the_nearest_length():
    assert bleu(["a b c d"], [Reference("a b c d e")])["bleu"] == pytest.approx(100 * math.exp(1 - 5 / 4))
    assert bleu(["a b c d"], [Reference("", ("a b c d e f g", "a b c d e"))])["bleu"] == pytest.approx(
        100 * math.exp(1 - 5 / 4)
    )


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_halves_a_precision_without_matches():
    assert bleu(["a b c d"], [Reference("a b c e")])["bleu"] == of_precisions(3 / 4, 2 / 3, 1 / 2, 1 / 2)


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_has_the_international_tokenizer_and_keeps_case():
    # “ and ” are words of their own, which sacrebleu's default tokenizer does not know.
    assert bleu(["“a b c d”"], [Reference("a b c d")])["bleu"] == of_precisions(4 / 6, 3 / 5, 2 / 4, 1 / 3)
    assert bleu(["a b c d E"], [Reference("a b c d e")])["bleu"] == of_precisions(4 / 5, 3 / 4, 2 / 3, 1 / 2)


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_takes_examples_with_unlike_numbers_of_answers():
    references = [Reference("", ("x", "a b c d e", "y")), Reference("v w x y z"), Reference("", ("q", "k l m n"))]
    assert bleu(["a b c d e", "v w x y z", "k l m n"], references) == {"bleu": pytest.approx(100)}


@pytest.mark.usefixtures("sacrebleu")
def test_an_answer_that_is_missing_is_not_taken_for_a_short_one():
    # 4 + 4 words against 4 and 10; a second answer of no words would be nearer than 10.
    references = [Reference("", ("v w x y", "q")), Reference("a b c d e f g h i j")]
    assert bleu(["v w x y", "a b c d"], references)["bleu"] == pytest.approx(100 * math.exp(1 - 14 / 8))


@pytest.mark.usefixtures("sacrebleu")
def test_a_set_without_four_words_in_a_row_has_a_bleu_of_0():
    assert bleu(["a b c", "d"], [Reference("a b c"), Reference("d")]) == {"bleu": pytest.approx(0)}


@pytest.mark.usefixtures("sacrebleu")
def test_bleu_says_nothing_of_predictions_that_end_in_a_lone_full_stop(caplog):
    assert bleu(["a b c ."] * 100, [Reference("a b c .")] * 100) == {"bleu": pytest.approx(100)}
    assert not caplog.records


@pytest.mark.usefixtures("rouge_score")
def test_rouge_is_the_published_one():
    assert rouge([TEXT, TEXT], [Reference(TEXT)] * 2) == scores(100, 100, 100)
    assert rouge(["", ""], [Reference(TEXT)] * 2) == scores(0, 0, 0)


@pytest.mark.usefixtures("rouge_score")
def test_rouge_is_the_mean_f_measure_of_the_examples():
    # Of 3 words and 6, 2 are shared; of 2 bigrams and 5, 1.
    references = [Reference("the cat sat on the mat"), Reference("x")]
    assert rouge(["The cat ran.", "x"], references) == scores(50 * (4 / 9 + 1), 50 * (2 / 7), 50 * (4 / 9 + 1))


@pytest.mark.usefixtures("rouge_score")
def test_rouge_does_not_stem():
    assert rouge(["running cats"], [Reference("run cat")]) == scores(0, 0, 0)


@pytest.mark.usefixtures("rouge_score")
@pytest.mark.parametrize(
    ("prediction", "target", "score"),
    [
        ("c d a b", "a b c d", 50),
        ("c d a b", "a b . c d", 100),
        ("c d a b", "a b\nc d", 100),
        ("c d . a b", "a b c d", 100),
        ("c d\na b", "a b c d", 100),
        ("c d. a b", "a b. c d", 50),
    ],
)
def test_rouge_lsum_takes_lines_and_what_a_lone_full_stop_ends_in_any_order(prediction, target, score):
    assert rouge([prediction], [Reference(target)])["rougeLsum"] == pytest.approx(score)


@pytest.mark.usefixtures("rouge_score")
def test_rouge_takes_the_best_answer_of_each_kind():
    # The second answer has the words, the first the bigram.
    references = [Reference("", ("a b x y z w", "b v a"))]
    assert rouge(["a b"], references) == scores(100 * 4 / 5, 100 * 2 / 6, 100 * 4 / 8)


@pytest.mark.usefixtures("rouge_score")
def test_rouge_counts_only_ascii_letters_and_digits():
    assert rouge(["你好 世界"], [Reference("你好 世界")]) == scores(0, 0, 0)


def test_rouge_is_within_half_a_point_of_the_bootstrap_median(rouge_score):
    # Half a point is what T5 allows between the two in `t5/evaluation/scoring_test.py`.
    from rouge_score import rouge_scorer, scoring

    words, random = np.array(["a", "b", "c", "d", "e", "f", "g", "h"]), np.random.default_rng(7)
    predictions, targets = ([" ".join(random.choice(words, 19)) for _ in range(211)] for _ in range(2))
    scorer, aggregator = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeLsum"]), scoring.BootstrapAggregator()
    for prediction, target in zip(predictions, targets, strict=True):
        aggregator.add_scores(scorer.score(target=target, prediction=prediction))
    np.random.seed(13)
    median = {name: 100 * score.mid.fmeasure for name, score in aggregator.aggregate().items()}
    assert rouge(predictions, [Reference(target) for target in targets]) == pytest.approx(median, abs=0.5)


@pytest.mark.usefixtures("sacrebleu", "rouge_score")
@pytest.mark.parametrize("function", [bleu, rouge])
@settings(max_examples=50)
@given(pairs=st.lists(EXAMPLES, min_size=1, max_size=5), random=st.randoms(use_true_random=False))
def test_scores_are_0_to_100_in_any_order_of_the_examples(function, pairs, random):
    predictions, references = zip(*pairs, strict=True)
    scores = function(predictions, references)
    assert all(type(score) is float and 0 <= score <= 100 + 1e-9 for score in scores.values())
    predictions, references = zip(*random.sample(pairs, len(pairs)), strict=True)
    assert function(predictions, references) == pytest.approx(scores)
